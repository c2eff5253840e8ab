//! One instance that does not reach the store while the other one does: both go on, and together send no more.

use std::path::PathBuf;

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::*;
use crate::common::store_server::config_at;

/// A way to the server that can be closed.
struct Way {
    folder: tempfile::TempDir,
    is_open: watch::Sender<bool>,
    _passing: JoinSet<()>,
}

impl Way {
    fn to(server: &StoreServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("way")).expect("a socket");
        let (is_open, open) = watch::channel(true);
        let mut passing = JoinSet::new();
        let target = server.socket();
        passing.spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                if *open.borrow() {
                    tokio::spawn(pass(here, target.clone(), open.clone()));
                }
            }
        });
        Self {
            folder,
            is_open,
            _passing: passing,
        }
    }

    fn config(&self, instances: u32) -> StoreConfig {
        config_at(&self.folder.path().join("way"), instances)
    }

    fn set_open(&self, open: bool) {
        self.is_open.send_replace(open);
    }
}

async fn pass(mut here: UnixStream, target: PathBuf, mut open: watch::Receiver<bool>) {
    let mut there = UnixStream::connect(target).await.expect("the server listens");
    tokio::select! {
        _ = copy_bidirectional(&mut here, &mut there) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_cut_off_sends_its_share_and_the_others_what_is_left() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let policies = policies(
            "per_second = 200\nburst = 40\npair = { seconds = 1, burst = 10 }",
            "",
        );
        let way = Way::to(&server);
        let one = Instance::start(&server, 2, &policies).await;
        let other = Instance::start_at(way.config(2), &policies).await;
        one.must_send("+4915").await;
        other.must_send("+4915").await;
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (ones, callers) = flood(&[&one], 8, start, at(6.0));
        let (others, more_callers) = flood(&[&other], 8, start, at(6.0));
        sleep_until(at(1.0)).await;
        way.set_open(false);
        sleep_until(at(4.0)).await;
        way.set_open(true);
        callers.join_all().await;
        more_callers.join_all().await;
        let (from, to) = (Duration::from_secs(2), Duration::from_secs(4));
        let [one, other] = [&ones, &others].map(|granted| granted.between(from, to));
        println!("{kind:?}: while it is cut off, {one} by the one and {other} by the other, of 400");
        assert!(
            (160..=210).contains(&one) && (160..=210).contains(&other),
            "{one}, {other}"
        );
        let together = Granted::default();
        for granted in [&ones, &others] {
            let times = granted.0.lock().expect("times").clone();
            together.0.lock().expect("times").extend(times);
        }
        together.assert_within(200.0, 40.0);
    }
}
