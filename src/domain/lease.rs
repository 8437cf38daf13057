//! The elector: who leads, decided by one lease record that all replicas read and write.
use std::time::Duration;

use jiff::Timestamp;

#[cfg(test)]
mod tests;

// What holds, however clocks are set, messages are lost and processes are paused: at no moment do two electors lead
// (`Elector::leads_at`), as long as no monotonic clock runs faster than another by more than the ratio of the lease's
// duration to the renew deadline, and nobody deletes the lease under its holder.
//
// A leader counts from before its write was sent, others from after they saw what it wrote. The times inside the record are
// for people: no clock of another machine is ever compared with ours.

/// A moment by the local monotonic clock, since some beginning of this process.
pub type Moment = Duration;

/// The record as everybody reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// None once it was released.
    pub holder: Option<String>,
    /// What the holder promises: others wait for so long after they saw it change.
    pub duration: Duration,
    pub acquired_at: Option<Timestamp>,
    pub renewed_at: Option<Timestamp>,
    /// How often it went from one holder to another.
    pub transitions: u32,
}

/// A record, and the version that a write over it must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLease {
    pub record: LeaseRecord,
    pub version: String,
}

/// What to write, over what: nothing (it is created then), or exactly this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bid {
    pub record: LeaseRecord,
    pub over: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// Others take the lease when they have not seen it change for so long.
    pub duration: Duration,
    /// The leader gives up when it has not renewed for so long; shorter than `duration`.
    pub renew_deadline: Duration,
    /// Between two looks or renewals.
    pub retry: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        let [duration, renew_deadline, retry] = [15, 10, 2].map(Duration::from_secs);
        Self { duration, renew_deadline, retry }
    }
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Wait { until: Moment },
    Read,
    Take(Bid),
    Renew(Bid),
    StepDown { why: SteppedDown },
}

/// Why an elector leads no more. It never does again: the process begins anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SteppedDown {
    #[error("the lease could not be renewed for {} s", deadline.as_secs_f64())]
    NotRenewed { deadline: Duration },
    #[error("{holder} holds the lease now")]
    Taken { holder: String },
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Under this version.
    Done { version: String },
    /// Somebody else wrote first.
    Conflict,
    /// It may have had its effect.
    Unknown,
}

/// What was seen of the record last.
#[derive(Clone, Debug)]
struct Seen {
    lease: StoredLease,
    /// When we saw it change.
    changed_at: Moment,
}

/// One replica's view of the lease. Pure: it is told what was read, what became of writes, and what time it is here.
#[derive(Clone, Debug)]
pub struct Elector {
    me: String,
    times: LeaseTimes,
    /// Of our own: candidates that look at the same moment keep colliding.
    pace: Duration,
    seen: Option<Seen>,
    /// What was seen may be written over: nothing has happened since that we do not know of.
    is_fresh: bool,
    /// Begin of the last write that made us the holder.
    renewed_at: Option<Moment>,
    next_at: Moment,
    down: Option<SteppedDown>,
}

impl Elector {
    /// `jitter` is between 0 and 1.
    pub fn new(me: String, times: LeaseTimes, jitter: f64) -> Self {
        let pace = times.retry.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
        let (seen, renewed_at, down) = (None, None, None);
        Self { me, times, pace, seen, is_fresh: false, renewed_at, next_at: Moment::ZERO, down }
    }

    pub fn me(&self) -> &str {
        &self.me
    }

    /// Who holds the lease, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref()?.lease.record.holder.as_deref()
    }

    /// When leadership ends unless it is renewed; `None` for who does not lead.
    pub fn leads_until(&self) -> Option<Moment> {
        self.renewed_at.filter(|_| self.down.is_none()).map(|at| at + self.times.renew_deadline)
    }

    pub fn leads_at(&self, now: Moment) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// What to do at `now`. `fit` is whether leading would be of use; who leads already goes on. `wall` is for the record.
    pub fn next(&mut self, now: Moment, fit: bool, wall: Timestamp) -> Step {
        self.notice_deadline(now);
        if let Some(why) = &self.down {
            return Step::StepDown { why: why.clone() };
        }
        if now < self.next_at {
            return Step::Wait { until: self.next_at };
        }
        if !self.is_fresh {
            return Step::Read;
        }
        if self.holder() == Some(self.me.as_str()) {
            return Step::Renew(self.bid(wall));
        }
        // Looked at again before it is taken, unless what we know was read just now.
        self.is_fresh = false;
        match self.free_at() {
            Some(free_at) if now < free_at => {
                self.next_at = free_at.min(now + self.pace);
                Step::Wait { until: self.next_at }
            }
            _ if !fit => {
                self.next_at = now + self.pace;
                Step::Wait { until: self.next_at }
            }
            Some(_) | None => Step::Take(self.bid(wall)),
        }
    }

    /// The record was read; the answer came at `now`.
    pub fn read(&mut self, found: Option<StoredLease>, now: Moment) {
        self.notice_deadline(now);
        self.is_fresh = true;
        self.next_at = now;
        let Some(lease) = found else {
            // Deleted under its holder, who may lead for a while yet: it counts as held until its time is up.
            if let Some(seen) = &mut self.seen {
                seen.lease.version.clear();
            }
            return;
        };
        if let (Some(_), Some(holder)) = (self.renewed_at, &lease.record.holder)
            && *holder != self.me
        {
            self.down.get_or_insert(SteppedDown::Taken { holder: holder.clone() });
        }
        // By its version: a holder whose clock stands still writes the same record each time.
        let same = self.seen.as_ref().filter(|seen| seen.lease.version == lease.version);
        let changed_at = same.map_or(now, |seen| seen.changed_at);
        self.seen = Some(Seen { lease, changed_at });
    }

    /// It could not be read.
    pub fn unread(&mut self, now: Moment) {
        self.notice_deadline(now);
        self.next_at = now + self.pace;
    }

    /// What became of `bid`, which was sent after `began`.
    pub fn wrote(&mut self, bid: Bid, written: Written, began: Moment, now: Moment) {
        self.notice_deadline(now);
        match written {
            Written::Done { version } => {
                self.seen =
                    Some(Seen { lease: StoredLease { record: bid.record, version }, changed_at: now });
                self.is_fresh = true;
                // An answer that comes too late makes nobody a leader: what it granted is over.
                if self.down.is_none() && now < began + self.times.renew_deadline {
                    self.renewed_at = Some(began);
                }
                self.next_at = began + self.times.retry;
            }
            Written::Conflict => {
                self.is_fresh = false;
                self.next_at = now + self.pace / 10;
            }
            Written::Unknown => {
                self.is_fresh = false;
                self.next_at = now.max(began + self.pace);
            }
        }
    }

    /// Stops to lead. What gives the lease back, so that others need not wait; `None` if it is not ours to give.
    pub fn release(&mut self, wall: Timestamp) -> Option<Bid> {
        self.renewed_at = None;
        let seen = self.seen.as_ref().filter(|_| self.is_fresh && self.holder() == Some(self.me.as_str()))?;
        let record = LeaseRecord { holder: None, renewed_at: Some(wall), ..seen.lease.record.clone() };
        Some(Bid { record, over: over(&seen.lease) })
    }

    fn notice_deadline(&mut self, now: Moment) {
        if self.leads_until().is_some_and(|until| now >= until) {
            self.down = Some(SteppedDown::NotRenewed { deadline: self.times.renew_deadline });
        }
    }

    /// When others may take what the holder holds; `None` if nobody does.
    fn free_at(&self) -> Option<Moment> {
        let seen = self.seen.as_ref()?;
        let LeaseRecord { holder, duration, .. } = &seen.lease.record;
        holder.as_ref()?;
        Some(seen.changed_at + if duration.is_zero() { self.times.duration } else { *duration })
    }

    fn bid(&self, wall: Timestamp) -> Bid {
        let before = self.seen.as_ref().map(|seen| &seen.lease);
        let record = before.map(|lease| lease.record.clone()).unwrap_or_default();
        let is_ours = record.holder.as_ref() == Some(&self.me);
        let first = record.acquired_at.is_none();
        let bid = LeaseRecord {
            holder: Some(self.me.clone()),
            duration: self.times.duration,
            acquired_at: record.acquired_at.filter(|_| is_ours).or(Some(wall)),
            renewed_at: Some(wall),
            transitions: record.transitions + u32::from(!is_ours && !first),
        };
        Bid { record: bid, over: before.and_then(over) }
    }
}

/// The version to write over; none for what was deleted.
fn over(lease: &StoredLease) -> Option<String> {
    Some(lease.version.clone()).filter(|version| !version.is_empty())
}
