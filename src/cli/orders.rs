//! The verbs that tell the daemon something: `approve`, `deny`, `resume`, `skip`, `abort` and `release`.
use super::{
    AbortArgs, AckArgs, ApproveArgs, DenyArgs, Exit, Failure, KillArgs, Output, ReleaseArgs, Turn, render,
};
use crate::client::Client;
use crate::client::dto::{KillRequest, OrderAnswer, ReleaseRequest, parse_target};
use crate::domain::plan::PlanDigest;

/// Fewer characters of a digest could be another plan's.
const DIGEST_CHARS_MIN: usize = 12;

pub(super) async fn approve(args: &ApproveArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let run = client.run(&args.run).await?;
    out.text(&render::plan(&run.plan));
    if let Some(given) = &args.digest {
        same_plan(given, &run.plan.digest, &args.run)?;
    }
    let break_glass = args.break_glass.then(|| args.reason.clone());
    let answer = client.approve(&args.run, &run.plan.digest, break_glass).await?;
    told(&answer, &format!("approve {}", args.run), out)
}

pub(super) async fn acknowledge(args: &AckArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    // Only targets have a slash in their names.
    let answer = match parse_target(&args.what) {
        Ok(target) => client.acknowledge_target(&target).await?,
        Err(_) => client.acknowledge_run(&args.what).await?,
    };
    told(&answer, &format!("{} is in hand", args.what), out)
}

fn same_plan(given: &str, actual: &PlanDigest, run: &str) -> Result<(), Failure> {
    if given.len() < DIGEST_CHARS_MIN {
        let message = format!("--digest needs at least {DIGEST_CHARS_MIN} characters");
        return Err(Failure::new(Exit::Usage, message));
    }
    if actual.as_str().starts_with(&given.to_ascii_lowercase()) {
        return Ok(());
    }
    let message = format!("the plan of run {run} is {actual}, not {given}: nothing was approved");
    Err(Failure::new(Exit::Refused, message))
}

pub(super) async fn deny(args: &DenyArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.deny(&args.run, &args.reason).await?;
    told(&answer, &format!("deny {}", args.run), out)
}

pub(super) async fn resume(run: &str, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.resume(run).await?;
    told(&answer, &format!("resume {run}"), out)
}

pub(super) async fn skip(run: &str, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.skip(run).await?;
    told(&answer, &format!("skip the step of {run}"), out)
}

pub(super) async fn abort(args: &AbortArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let answer = client.abort(&args.run, &args.reason).await?;
    told(&answer, &format!("abort {}", args.run), out)
}

pub(super) async fn kill(args: &KillArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let request = KillRequest { on: args.turn == Turn::On, reason: args.reason.clone() };
    let answer = client.kill(&request).await?;
    told(&answer, if request.on { "kill switch on" } else { "kill switch off" }, out)
}

pub(super) async fn release(args: &ReleaseArgs, client: &Client, out: &Output) -> Result<Exit, Failure> {
    let request = ReleaseRequest {
        service: args.target.service.clone(),
        target: args.target.target.clone(),
        version: args.version.clone(),
        at: args.at,
    };
    let answer = client.release(&request).await?;
    told(&answer, &format!("release of {} {}", args.target, args.version), out)
}

/// Says what was taken and where to look next.
pub(super) fn told(answer: &OrderAnswer, what: &str, out: &Output) -> Result<Exit, Failure> {
    out.result(answer, || {
        let again = if answer.duplicate { " (it had been before)" } else { "" };
        format!("accepted{again}: {what}; see `{}`", answer.next)
    })?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approval_is_for_one_plan() {
        let actual = PlanDigest::named("0123456789abcdef0123");
        let exit = |given| same_plan(given, &actual, "r1").map_err(|f| f.exit);
        assert_eq!(exit("0123456789abcdef0123"), Ok(()));
        assert_eq!(exit("0123456789AB"), Ok(()));
        assert_eq!(exit("0123456789"), Err(Exit::Usage));
        assert_eq!(exit("0123456789ff"), Err(Exit::Refused));
    }
}
