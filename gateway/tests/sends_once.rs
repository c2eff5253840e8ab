//! Promise: no message is sent twice. Wherever the exchange with Meta is cut, Meta has accepted the message once at most,
//! the caller is never told otherwise than it is, and what could not be written at all is sent on another connection.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and shows its figures"
)]

mod common;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{DEFAULT, Reply, Setup, World, soon};
use curfew::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a connection is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// RST.
    Reset,
    /// FIN, and nothing is read any more.
    End,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Request,
    Answer,
}

/// What stands between gateway and emulator, and cuts.
struct Relay {
    state: Mutex<State>,
    /// Cuts every connection.
    all: watch::Sender<Option<Cut>>,
}

#[derive(Default)]
struct State {
    connections: usize,
    /// Bytes that passed, towards Meta and back.
    passed: [usize; 2],
    /// So many bytes more pass on this side; the next one is where the connection is cut, once.
    next: Option<(Side, usize, Cut)>,
}

thread_local! {
    /// The relay of the world that this thread's test makes.
    static RELAY: RefCell<Option<Arc<Relay>>> = const { RefCell::new(None) };
}

fn configure(config: &mut Config) {
    let emulator = config.upstream.graph.to_string();
    let emulator: SocketAddr = emulator.strip_prefix("http://").unwrap().parse().unwrap();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    config.upstream.graph = origin.parse().unwrap();
    let relay = Arc::new(Relay {
        state: Mutex::default(),
        all: watch::Sender::new(None),
    });
    RELAY.set(Some(Arc::clone(&relay)));
    tokio::spawn(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        while let Ok((gateway, _)) = listener.accept().await {
            relay.state.lock().unwrap().connections += 1;
            let meta = TcpStream::connect(emulator).await.unwrap();
            tokio::spawn(Arc::clone(&relay).pass(gateway, meta));
        }
    });
}

impl Relay {
    async fn pass(self: Arc<Self>, mut gateway: TcpStream, mut meta: TcpStream) {
        let mut all = self.all.subscribe();
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        let how = loop {
            let (side, read) = tokio::select! {
                read = gateway.read(&mut up) => (Side::Request, read),
                read = meta.read(&mut down) => (Side::Answer, read),
                Ok(()) = all.changed() => break all.borrow().unwrap(),
            };
            let Ok(read @ 1..) = read else { return };
            let (passes, cut) = self.admit(side, read);
            let passed = match side {
                Side::Request => meta.write_all(&up[..passes]).await,
                Side::Answer => gateway.write_all(&down[..passes]).await,
            };
            if passed.is_err() {
                return;
            }
            if let Some(cut) = cut {
                break cut;
            }
        };
        drop(meta);
        match how {
            Cut::Reset => gateway.set_zero_linger().unwrap(),
            Cut::End => {
                gateway.shutdown().await.ok();
            }
        }
    }

    /// How many of the bytes that came on a side pass, and whether the connection is cut after them.
    fn admit(&self, side: Side, bytes: usize) -> (usize, Option<Cut>) {
        let mut state = self.state.lock().unwrap();
        let mut passes = bytes;
        let mut cut = None;
        if let Some((cut_side, left, how)) = &mut state.next
            && *cut_side == side
        {
            if bytes > *left {
                (passes, cut) = (*left, Some(*how));
                state.next = None;
            } else {
                *left -= bytes;
            }
        }
        state.passed[usize::from(side == Side::Answer)] += passes;
        (passes, cut)
    }
}

struct Site {
    world: World,
    relay: Arc<Relay>,
}

impl Site {
    async fn new() -> Self {
        let world = World::start(Setup {
            configure,
            ..Setup::default()
        })
        .await;
        let relay = RELAY.take().unwrap();
        Self { world, relay }
    }

    /// A message, and how often it was accepted.
    async fn send(&self) -> (Reply, usize) {
        self.world.emulator.clear_record();
        let reply = soon(self.world.client().send_text(DEFAULT)).await;
        (reply, self.world.emulator.sent().len())
    }

    async fn succeed(&self) {
        let (reply, accepted) = self.send().await;
        assert_eq!((reply.status.as_u16(), accepted), (200, 1), "{}", reply.text());
    }

    fn connections(&self) -> usize {
        self.relay.state.lock().unwrap().connections
    }
}

#[tokio::test]
async fn a_send_cut_at_any_byte_is_accepted_once_at_most_and_never_repeated() {
    let site = Site::new().await;
    site.succeed().await;
    let before = site.relay.state.lock().unwrap().passed;
    site.succeed().await;
    let after = site.relay.state.lock().unwrap().passed;
    let mut cuts = 0;
    for (side, length, accepts) in [
        (Side::Request, after[0] - before[0], 0),
        (Side::Answer, after[1] - before[1], 1),
    ] {
        assert!(length > 200, "{side:?}: {length}");
        for how in [Cut::Reset, Cut::End] {
            for offset in 0..length {
                site.relay.state.lock().unwrap().next = Some((side, offset, how));
                let (reply, accepted) = site.send().await;
                assert_eq!(accepted, accepts, "{side:?} {how:?} {offset}");
                reply.assert_refused(409, 131_000, "outcome_unknown");
                cuts += 1;
                // Far apart, so that no breaker opens.
                site.world.time.advance(Duration::from_secs(60));
            }
        }
    }
    // One connection for each cut, and none for a repetition.
    site.succeed().await;
    assert_eq!(site.connections(), 1 + cuts);
    println!("{cuts} cuts");
}

#[tokio::test]
async fn a_send_that_meets_a_dead_connection_is_accepted_once() {
    let site = Site::new().await;
    for how in [Cut::Reset, Cut::End] {
        for _ in 0..100 {
            site.succeed().await;
            let connections = site.connections();
            site.relay.all.send(Some(how)).unwrap();
            let cut = async {
                while site.relay.all.receiver_count() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            soon(cut).await;
            site.succeed().await;
            assert_eq!(site.connections(), connections + 1, "{how:?}");
        }
    }
}

#[tokio::test]
async fn sends_in_turn_share_one_connection() {
    let site = Site::new().await;
    for _ in 0..50 {
        site.succeed().await;
    }
    assert_eq!(site.connections(), 1);
}
