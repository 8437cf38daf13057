//! A wire between a client and Postgres that loses what networks lose.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Loss {
    Nothing,
    /// The next COMMIT arrives, and the connection breaks before its answer does.
    CommitAnswer,
    /// The next COMMIT does not arrive: the client's side breaks, and the server never hears of it.
    Commit,
    /// Everything is held back, both ways, and no connection breaks.
    Everything,
}

pub(crate) struct Wire {
    port: u16,
    loss: Arc<watch::Sender<Loss>>,
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            loss: Arc::new(watch::Sender::new(Loss::Nothing)),
        };
        let loss = wire.loss.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                    connect(client, server, &loss);
                }
            }
        });
        wire
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.loss.send_replace(loss);
    }

    /// Whether what was planned for one COMMIT has happened.
    pub(crate) fn has_lost(&self) -> bool {
        *self.loss.borrow() == Loss::Nothing
    }
}

fn connect(client: TcpStream, server: TcpStream, loss: &Arc<watch::Sender<Loss>>) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (answers, eaten) = watch::channel(false);
    tokio::spawn(requests(from_client, to_server, loss.clone(), answers));
    tokio::spawn(replies(from_server, to_client, loss.clone(), eaten));
}

async fn passable(loss: &watch::Sender<Loss>) {
    // The sender is here, so this waits for nothing but the value.
    drop(loss.subscribe().wait_for(|loss| *loss != Loss::Everything).await);
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    loss: Arc<watch::Sender<Loss>>,
    eat_answers: watch::Sender<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        passable(&loss).await;
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        passable(&loss).await;
        let sent = &buffer[..length];
        if sent.windows(6).any(|word| word == b"COMMIT") {
            let planned = *loss.borrow();
            if planned == Loss::Commit {
                loss.send_replace(Loss::Nothing);
                eat_answers.send_replace(true);
                // The server's side stays open, with a transaction that nobody will end.
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                return;
            }
            eat_answers.send_replace(planned == Loss::CommitAnswer);
        }
        if to.write_all(sent).await.is_err() {
            return;
        }
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    loss: Arc<watch::Sender<Loss>>,
    mut eat: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            // COMMIT was lost: the client's side breaks at once.
            _ = eat.wait_for(|eat| *eat && *loss.borrow() == Loss::Nothing) => 0,
        };
        passable(&loss).await;
        let eaten = *eat.borrow();
        if eaten && length > 0 {
            loss.send_replace(Loss::Nothing);
        }
        // Dropping this half tells the client that no answer will come.
        if length == 0 || eaten || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
