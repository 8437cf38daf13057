//! One release as a chart: what the new and the old version did, what was allowed, and when what was decided.
use jiff::Timestamp;

use super::markup::html as escape;
use super::replay::{Point, Trace, Track};
use super::runbook::RuleKind;

const WIDTH: f64 = 880.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
/// Above the first panel, without the reason.
const TOP: f64 = 60.0;
/// Characters of a line of text.
const LINE_CHARS: usize = 125;
const PANEL: f64 = 180.0;
const GAP: f64 = 62.0;

/// Mid-tones that are readable on light and on dark ground.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#7a7a7a}.title{font-size:15px;font-weight:600}\
.grid{stroke:#7a7a7a;stroke-opacity:.25}.new{stroke:#3b82d6;fill:none;stroke-width:2}\
.old{stroke:#8f8f8f;fill:none;stroke-width:2;stroke-dasharray:1 3;stroke-linecap:round}\
.threshold{stroke:#d9483b;stroke-dasharray:7 4}.baseline{stroke:#3f9d63;stroke-dasharray:3 3}\
line.event{stroke:#7a7a7a}line.decision{stroke:#d9483b;stroke-width:2}text.decision{fill:#d9483b}";

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    pub title: String,
    pub reason: &'a str,
    pub trace: &'a Trace,
    /// The decision in a word, if there was one.
    pub decided: Option<(Timestamp, String)>,
}

/// The chart as SVG; `None` if nothing was measured that has a course.
pub fn svg(chart: &Chart<'_>) -> Option<String> {
    let trace = chart.trace;
    let tracks: Vec<&Track> = trace.tracks.iter().filter(|track| !track.points.is_empty()).collect();
    let last = tracks.iter().filter_map(|track| track.points.last()).map(|point| point.at).max()?;
    let decided_at = chart.decided.iter().map(|(at, _)| *at).max();
    let time = Time { from: trace.released_at, to: decided_at.map_or(last, |at| at.max(last)) };
    let reason = wrapped(chart.reason);
    let top = TOP + 16.0 * reason.len() as f64;
    let height = top + tracks.len() as f64 * (PANEL + GAP);
    let (title, desc) = (escape(&chart.title), escape(chart.reason));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-labelledby=\"title desc\">\n<title id=\"title\">{title}</title>\n<desc id=\"desc\">{desc}</desc>\n\
         <style>{STYLE}</style>\n<text class=\"title\" x=\"{LEFT}\" y=\"22\">{title}</text>\n"
    );
    for (row, text) in reason.iter().enumerate() {
        let y = 42.0 + 16.0 * row as f64;
        line(&mut out, &format!("<text x=\"{LEFT}\" y=\"{y}\">{}</text>", escape(text)));
    }
    for (index, track) in tracks.iter().enumerate() {
        let panel = Panel::new(track, &time, top + index as f64 * (PANEL + GAP));
        panel.draw(&mut out);
        panel.events(&mut out, chart);
    }
    out.push_str("</svg>\n");
    Some(out)
}

struct Time {
    from: Timestamp,
    to: Timestamp,
}

impl Time {
    fn secs(&self) -> f64 {
        self.to.duration_since(self.from).as_secs_f64().max(1.0)
    }
    fn x(&self, at: Timestamp) -> f64 {
        let share = at.duration_since(self.from).as_secs_f64() / self.secs();
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }
}

struct Panel<'a> {
    track: &'a Track,
    time: &'a Time,
    top: f64,
    /// The value at the upper edge.
    most: f64,
}

impl<'a> Panel<'a> {
    fn new(track: &'a Track, time: &'a Time, top: f64) -> Self {
        let measured = track.points.iter().flat_map(|point| [point.of.new, point.of.old]).flatten();
        let limits = [track.threshold, track.baseline].into_iter().flatten();
        let most = measured.chain(limits).filter(|v| v.is_finite()).fold(0.0, f64::max);
        Self { track, time, top, most: rounded_up(most) }
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - (value / self.most).clamp(0.0, 1.0))
    }

    fn draw(&self, out: &mut String) {
        let (right, what) = (WIDTH - RIGHT, self.what());
        line(out, &format!("<text x=\"{LEFT}\" y=\"{:.1}\">{}</text>", self.top - 8.0, escape(&what)));
        for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let (y, label) = (self.y(self.most * part), self.label(self.most * part));
            line(
                out,
                &format!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"),
            );
            let x = LEFT - 8.0;
            line(out, &format!("<text text-anchor=\"end\" x=\"{x}\" y=\"{:.1}\">{label}</text>", y + 4.0));
        }
        self.times(out);
        for (class, level) in [("threshold", self.track.threshold), ("baseline", self.track.baseline)] {
            let Some(y) = level.map(|level| self.y(level)) else { continue };
            line(
                out,
                &format!(
                    "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
                ),
            );
        }
        self.course(out, "old", |point| point.of.old);
        self.course(out, "new", |point| point.of.new);
    }

    /// What the panel shows and what its lines are, in words, since colours alone tell nothing to some.
    fn what(&self) -> String {
        let shown = match self.track.kind {
            RuleKind::Errors { .. } => "share of requests that failed",
            RuleKind::Latency { .. } => "95th percentile of response times",
            RuleKind::Value { .. } | RuleKind::Check { .. } => "value",
        };
        let limit = |level: Option<f64>| level.map_or("unknown".to_string(), |level| self.label(level));
        format!(
            "{}: {shown}. New version solid, old version dotted; threshold {} (long dashes), before {} (short dashes)",
            self.track.rule,
            limit(self.track.threshold),
            limit(self.track.baseline)
        )
    }

    fn times(&self, out: &mut String) {
        let steps = [60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 86_400.0];
        let wanted = self.time.secs() / 8.0;
        let step = steps.into_iter().find(|step| *step >= wanted).unwrap_or(self.time.secs());
        let mut secs = 0.0;
        while secs <= self.time.secs() {
            let at = self.time.from + jiff::SignedDuration::from_secs_f64(secs);
            let (x, y) = (self.time.x(at), self.top + PANEL + 16.0);
            line(
                out,
                &format!(
                    "<text text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
                    at.strftime("%H:%M")
                ),
            );
            secs += step;
        }
    }

    /// A line through the points, broken where nothing was measured.
    fn course(&self, out: &mut String, class: &str, value: impl Fn(&Point) -> Option<f64>) {
        let mut path = String::new();
        let mut pen = 'M';
        for point in &self.track.points {
            match value(point) {
                Some(value) => {
                    path += &format!("{pen}{:.1} {:.1}", self.time.x(point.at), self.y(value));
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        if !path.is_empty() {
            line(out, &format!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    fn events(&self, out: &mut String, chart: &Chart<'_>) {
        let (decided, word) = chart.decided.clone().unzip();
        let events = [
            ("event", "deploy".to_string(), Some(chart.trace.released_at)),
            ("event", "rollout ended".to_string(), chart.trace.rollout_ended),
            ("decision", word.unwrap_or_default(), decided),
        ];
        for (row, (class, label, at)) in events.into_iter().enumerate() {
            let Some(at) = at.filter(|at| *at <= self.time.to) else { continue };
            let (x, bottom) = (self.time.x(at), self.top + PANEL);
            line(
                out,
                &format!(
                    "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>",
                    self.top
                ),
            );
            // Labels at different heights, so that events close together can be read.
            let (x, y) = (x + 4.0, self.top + 14.0 + 14.0 * row as f64);
            line(out, &format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>"));
        }
    }

    fn label(&self, value: f64) -> String {
        match self.track.kind {
            RuleKind::Errors { .. } => format!("{} %", short(value * 100.0)),
            RuleKind::Latency { .. } => format!("{} ms", short(value)),
            RuleKind::Value { .. } | RuleKind::Check { .. } => short(value),
        }
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// A text in lines, since SVG knows no paragraphs.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(last) if last.chars().count() + word.chars().count() < LINE_CHARS => {
                last.push_str(if last.is_empty() { "" } else { " " });
                last.push_str(word);
            }
            Some(_) | None => lines.push(word.to_string()),
        }
    }
    lines
}

/// Two or three digits that matter.
fn short(value: f64) -> String {
    let value = (value * 1000.0).round() / 1000.0;
    let digits = if value >= 100.0 || value == value.round() {
        0
    } else if value >= 1.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// The next of 1, 2, 4, 6, 8 or 10 times a power of ten, so that a quarter of it is a plain number too.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|most| *most >= value).unwrap_or(value)
}
