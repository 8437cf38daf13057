//! One judged release as a chart, and the name of its file.
use super::told::{name, word};
use crate::app::backtest::Judged;
use crate::domain::chart::{self, Chart};
use crate::domain::policy::Decision;

/// The chart as SVG; `None` if nothing was measured that has a course.
pub fn svg(judged: &Judged) -> Option<String> {
    let decided = (judged.decision != Decision::Hold).then(|| (judged.decided_at, word(&judged.decision)));
    let trace = judged.trace.as_deref()?;
    chart::svg(&Chart { title: title(judged), reason: &judged.reason, trace, decided })
}

/// A name for the chart's file: service, target, version and time.
pub fn file_name(judged: &Judged) -> String {
    let at = judged.released_at.strftime("%Y%m%dT%H%M%SZ");
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '+' };
    let stem: String = format!("{}.{}", name(judged), judged.release).chars().map(safe).take(150).collect();
    format!("{}.{at}.svg", stem.trim_start_matches('.'))
}

fn title(judged: &Judged) -> String {
    let decision = match judged.decision {
        Decision::Hold => "left alone".to_string(),
        Decision::Page | Decision::Ask | Decision::Rollback => {
            format!("{} after {:.0} s", word(&judged.decision), judged.delay_seconds)
        }
    };
    format!("{} {}: {decision}", name(judged), judged.release)
}
