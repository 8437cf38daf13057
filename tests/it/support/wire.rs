//! A network between a program and a server on loopback, which a test can cut without either of them being told.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes bytes on in both directions, until it is cut: then connections stay open, and nothing comes through.
pub(crate) struct Wire {
    port: u16,
    cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// To a server on this port of loopback.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = watch::Sender::new(false);
        let is_cut = cut.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, server, is_cut.clone()));
            }
        });
        Self { port, cut, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// What was sent meanwhile arrives late, as it does on a network.
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(near: TcpStream, server: u16, cut: watch::Receiver<bool>) {
    let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server))).await else { return };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(pass_on(near_in, far_out, cut.clone()), pass_on(far_in, near_out, cut));
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        // An error means that the test is over.
        let open = cut.wait_for(|cut| !cut).await.is_ok();
        if count == 0 || !open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
