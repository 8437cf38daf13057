//! The calls that change something outside, noted while a step is applied, so that the journal can name each by its request id.
use std::cell::RefCell;

use crate::domain::outcome::Call;

tokio::task_local! {
    /// A task's own: an adapter notes its calls where it makes them, however deep, and a call that is given up stays noted.
    static NOTED: RefCell<Vec<Call>>;
}

/// Does `work` and returns the calls that were noted meanwhile.
pub async fn noting<T>(work: impl Future<Output = T>) -> (T, Vec<Call>) {
    let noted = async {
        let done = work.await;
        (done, NOTED.with(RefCell::take))
    };
    NOTED.scope(RefCell::default(), noted).await
}

/// Notes a call that is about to be made; its answer is not known yet.
pub fn made(call: Call) {
    // Where nobody notes, nothing is carried out: a message that is delivered, or a test.
    NOTED.try_with(|noted| noted.borrow_mut().push(call)).ok();
}

/// Notes the HTTP status with which the call of this request id was answered.
pub fn answered(request_id: &str, status: u16) {
    let note = |noted: &RefCell<Vec<Call>>| {
        let mut calls = noted.borrow_mut();
        if let Some(call) = calls.iter_mut().find(|call| call.request_id == request_id) {
            call.status = Some(status);
        }
    };
    NOTED.try_with(note).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> Call {
        Call { method: "PATCH".into(), path: "/x".into(), request_id: id.into(), status: None }
    }

    #[tokio::test]
    async fn each_work_notes_its_own_calls_and_an_answer_that_never_came_is_none() {
        let work = async {
            made(call("a"));
            answered("a", 200);
            tokio::task::yield_now().await;
            made(call("b"));
        };
        let other = noting(async { made(call("c")) });
        let (((), calls), ((), others)) = tokio::join!(noting(work), other);
        assert_eq!(calls, [Call { status: Some(200), ..call("a") }, call("b")]);
        assert_eq!(others, [call("c")]);
        // Nobody notes here.
        made(call("d"));
    }
}
