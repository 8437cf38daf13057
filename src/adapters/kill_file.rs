//! The kill switch as a file: `touch STATE_DIR/KILL` stops all automation, even if nobody can reach the API.
use std::io::ErrorKind;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::guardrails::Killed;
use crate::ports::KillFile;

/// What is read of the file as a reason.
const REASON_CHARS_MAX: usize = 200;

#[derive(Clone, Debug)]
pub struct FileSwitch {
    path: PathBuf,
}

impl FileSwitch {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn killed(&self, at: Timestamp, reason: String) -> Killed {
        Killed { by: format!("the file {}", self.path.display()), at, reason }
    }
}

#[async_trait]
impl KillFile for FileSwitch {
    /// What cannot be looked at counts as there: whoever made it wanted nothing to be changed.
    async fn look(&self) -> Option<Killed> {
        let meta = match tokio::fs::metadata(&self.path).await {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => return Some(self.killed(Timestamp::UNIX_EPOCH, error.to_string())),
        };
        let made = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let text = if meta.is_file() && meta.len() < 64 * 1024 {
            tokio::fs::read_to_string(&self.path).await.unwrap_or_default()
        } else {
            String::new()
        };
        let first = text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control());
        let reason = first.take(REASON_CHARS_MAX).collect::<String>().trim().to_string();
        Some(self.killed(made.unwrap_or(Timestamp::UNIX_EPOCH), reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_enough_and_its_first_line_is_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("KILL");
        let switch = FileSwitch::new(path.clone());
        assert_eq!(switch.look().await, None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(switch.look().await.unwrap().reason, "");
        std::fs::write(&path, "the database is being moved\nsecond line").unwrap();
        let killed = switch.look().await.unwrap();
        assert_eq!(killed.reason, "the database is being moved");
        assert!(killed.to_string().contains(&format!("by the file {}", path.display())), "{killed}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(switch.look().await, None);
        std::fs::create_dir(&path).unwrap();
        assert!(switch.look().await.is_some(), "whatever it is, it is there");
        let below = FileSwitch::new(dir.path().join("KILL/under/a/file"));
        assert_eq!(below.look().await, None);
    }
}
