//! One exchange on one connection, driven by whoever waits for it.
//!
//! hyper's side of a connection is made for one exchange. It runs in no task of its own: the future that waits for the
//! head polls it, then the body that waits for the rest. So it costs no task and no waking between tasks, and dropping
//! either breaks the exchange off.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::coop::unconstrained;

use super::line::Line;
use super::pool::Turn;
use crate::body::{BoxError, Outbound};

/// hyper's buffers per direction, in bytes; the largest head of an answer.
const BUFFER_BYTES: usize = 64 * 1024;

/// Why an exchange has no answer.
pub(super) struct Failed {
    pub(super) error: BoxError,
    /// The request, if nothing was done with it.
    pub(super) untouched: Option<Request<Outbound>>,
}

/// Writes a request in origin form, and reads the head of the answer.
///
/// # Errors
///
/// When none comes. Then the connection is closed.
pub(super) async fn exchange(
    line: Line,
    turn: Turn,
    request: Request<Outbound>,
) -> Result<Response<Driven>, Failed> {
    let handshake = Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .handshake(TokioIo::new(line));
    let (mut sender, connection) = match handshake.await {
        Ok(made) => made,
        Err(error) => {
            return Err(Failed {
                error: error.into(),
                untouched: Some(request),
            });
        }
    };
    // Its waker is not registered (below), so it must not put itself off.
    let mut answer = pin!(unconstrained(sender.try_send_request(request)));
    let mut drive = Some(Box::new(Drive {
        connection,
        sender,
        turn,
    }));
    let answer = poll_fn(|cx| {
        if let Some(driven) = &mut drive
            && driven.poll(cx).is_ready()
        {
            // Dropped, it hands back what it was to send.
            drive = None;
        }
        // Only the connection makes an answer, and that was polled just now.
        answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    });
    match answer.await {
        Ok(answer) => Ok(answer.map(|incoming| {
            let mut driven = Driven { incoming, drive };
            driven.settle(false);
            driven
        })),
        Err(mut failed) => Err(Failed {
            untouched: failed.take_message(),
            error: failed.into_error().into(),
        }),
    }
}

/// A connection in the middle of an exchange.
struct Drive {
    connection: Connection<TokioIo<Line>, Outbound>,
    sender: SendRequest<Outbound>,
    turn: Turn,
}

impl Drive {
    /// Ready when the connection has ended. Why, hyper tells whoever waits for the answer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_without_shutdown(cx).map(|_| ())
    }

    /// Whether hyper would take another request: request and answer are whole, and neither asked to close.
    fn is_over(&self) -> bool {
        self.sender.is_ready()
    }

    /// Gives the connection back to the pool, if nothing but the connection is left of the exchange.
    fn release(self) {
        let parts = self.connection.into_parts();
        let line = parts.io.into_inner();
        // hyper flushes its own buffer before it flushes the connection.
        if parts.read_buf.is_empty() && line.is_flushed() {
            self.turn.host().keep(line);
        }
    }
}

/// The body of an answer, and the connection that it comes on.
pub struct Driven {
    incoming: Incoming,
    /// Until the exchange is over. Dropped before, the connection is closed.
    drive: Option<Box<Drive>>,
}

impl Driven {
    /// A waker of its own is never needed: only the connection brings frames, and that has the task's.
    fn poll_incoming(&mut self) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    /// Lets the connection go as soon as the exchange is over, and with the end of the answer in any case: Meta does not
    /// read on when it has answered a request that is still going out.
    fn settle(&mut self, has_ended: bool) {
        let Some(drive) = &mut self.drive else { return };
        if !drive.is_over() {
            if !has_ended && !self.incoming.is_end_stream() {
                return;
            }
            // hyper may have yielded before it found that it is done.
            let _ = drive.poll(&mut Context::from_waker(Waker::noop()));
        }
        if let Some(drive) = self.drive.take()
            && drive.is_over()
        {
            drive.release();
        }
    }
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let mut frame = this.poll_incoming();
        if frame.is_pending()
            && let Some(drive) = &mut this.drive
        {
            if drive.poll(cx).is_ready() {
                this.drive = None;
            }
            frame = this.poll_incoming();
        }
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => this.settle(false),
            Poll::Ready(None | Some(Err(_))) => this.settle(true),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl std::fmt::Debug for Driven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driven").finish_non_exhaustive()
    }
}
