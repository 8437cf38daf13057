//! From the configuration to the infrastructure that it names.
use std::sync::Arc;

use super::AppError;
use super::build::{setup, targets};
use super::rooms::Room;
use crate::adapters::infrastructure::Infrastructure;
use crate::config::Config;
use crate::domain::names::TargetKind;
use crate::engine::clock::SystemClock;

/// `None` where no target is infrastructure.
pub(super) fn room(config: &Config) -> Result<Option<Room>, AppError> {
    let own = targets(config).filter_map(|(target, kind)| Some((target, kind.infrastructure()?.clone())));
    let own: Vec<_> = own.collect();
    if own.is_empty() {
        return Ok(None);
    }
    let dir = config.state_dir.join("infrastructure");
    let room = Infrastructure::new(own, &dir, Arc::new(SystemClock)).map_err(setup("infrastructure"))?;
    let (kind, target) = (TargetKind::Infrastructure, Arc::new(room.clone()));
    Ok(Some(Room { kind, target, feed: Arc::new(move || room.feed()) }))
}
