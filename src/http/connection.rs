//! A listener that bounds how many connections there are, and how long one may take to finish its request.
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Longest time for a request to arrive once its first byte is here, and for a connection to be idle.
const REQUEST_TIME: Duration = Duration::from_secs(20);
const CONNECTIONS_MAX: usize = 256;

/// Who is calling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Peer(*stream.remote_addr())
    }
}

pub(super) struct BoundedListener {
    inner: TcpListener,
    permits: Arc<Semaphore>,
    request_time: Duration,
}

impl BoundedListener {
    pub(super) fn new(inner: TcpListener) -> Self {
        Self { inner, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)), request_time: REQUEST_TIME }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        // The semaphore is never closed, so that the permit is only missing for a type's sake.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let (inner, peer) = Listener::accept(&mut self.inner).await;
        (BoundedStream::new(inner, permit, self.request_time), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that is dropped when it dawdles: slow headers, slow bodies and idling are all reads that do not end.
pub(super) struct BoundedStream {
    inner: TcpStream,
    request_time: Duration,
    deadline: Pin<Box<Sleep>>,
    in_request: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl BoundedStream {
    fn new(inner: TcpStream, permit: Option<OwnedSemaphorePermit>, request_time: Duration) -> Self {
        let deadline = Box::pin(tokio::time::sleep(request_time));
        Self { inner, request_time, deadline, in_request: false, _permit: permit }
    }

    fn restart(&mut self, in_request: bool, cx: &mut Context<'_>) {
        self.in_request = in_request;
        self.deadline.set(tokio::time::sleep(self.request_time));
        // Nobody may read again before the new deadline, so it has to wake this task by itself.
        if self.deadline.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if !self.in_request {
            self.restart(true, cx);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        self.restart(false, cx);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs));
        self.restart(false, cx);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn connect() -> TcpStream {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = inner.local_addr().unwrap();
        let mut listener = BoundedListener::new(inner);
        listener.request_time = Duration::from_millis(200);
        let router = Router::new().route("/", get(async || "ok"));
        tokio::spawn(
            axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).into_future(),
        );
        TcpStream::connect(address).await.unwrap()
    }

    /// Everything that comes until the server hangs up, which it must.
    async fn until_closed(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await;
        assert!(closed.is_ok(), "the connection is still open");
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test]
    async fn an_idle_connection_is_closed_before_and_after_a_request() {
        assert_eq!(until_closed(&mut connect().await).await, "");
        let mut stream = connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(until_closed(&mut stream).await.ends_with("ok"));
    }

    #[tokio::test]
    async fn a_header_that_trickles_in_gets_no_more_time_for_each_byte() {
        let (mut reader, mut writer) = connect().await.into_split();
        let trickle = async {
            writer.write_all(b"GET / HTTP/1.1\r\nX: ").await.ok();
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut text = Vec::new();
        tokio::select! {
            () = trickle => {}
            read = reader.read_to_end(&mut text) => assert!(read.is_err() || text.is_empty()),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the connection is still open"),
        }
    }
}
