use std::future::pending;
use std::sync::Mutex;
use std::task::Poll;

use curfew_policies::{
    Generation, Message, MessageKind, Operation, PolicySet, Request, SettingsFact, Subject, Timestamp,
};
use futures_util::FutureExt as _;
use http::{Method, StatusCode};
use tower::ServiceExt as _;

use super::*;
use crate::body::ResponseBody;
use crate::call::{Call, Context, Credential, Destination, Payload, Principal};
use crate::clock::Clock;
use crate::graph::idempotency_key::{IDEMPOTENCY_KEY, IdempotencyKey};
use crate::layers::enforce::{Enforce, EnforceLayer};

/// What becomes of a send below the layer.
#[derive(Clone, Copy)]
enum Below {
    /// It waits, for its turn for example.
    Waits,
    /// It is refused before anything is sent.
    Refuses,
    /// It is sent, and no answer comes.
    Breaks,
    /// Meta accepts it.
    Accepts,
}

/// Stands for the layers below; counts what it is asked to send.
#[derive(Clone)]
struct Meta {
    below: Arc<Mutex<(Below, usize)>>,
}

impl Service<Permitted> for Meta {
    type Response = Answer;
    type Error = GatewayError;
    type Future = BoxFuture<Result<Answer, GatewayError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut permitted: Permitted) -> Self::Future {
        let mut below = self.below.lock().unwrap();
        below.1 += 1;
        let below = below.0;
        Box::pin(async move {
            match below {
                Below::Waits => {
                    pending::<()>().await;
                    drop(permitted);
                    unreachable!()
                }
                Below::Refuses => Err(GatewayError::Busy),
                Below::Breaks => {
                    if let Some(mut ticket) = permitted.take_ticket() {
                        ticket.sets_out();
                    }
                    Err(GatewayError::OutcomeUnknown)
                }
                Below::Accepts => {
                    let body = bytes::Bytes::from_static(b"{}");
                    let (parts, ()) = http::Response::new(()).into_parts();
                    if let Some(mut ticket) = permitted.take_ticket() {
                        ticket.sets_out();
                        ticket.book(&parts, &body).await;
                    }
                    Ok(Answer::new(ResponseBody::whole(body)))
                }
            }
        })
    }
}

struct Bench {
    stack: Enforce<SendOnce<Meta>>,
    meta: Meta,
    policies: Arc<PolicySet>,
}

impl Bench {
    fn new() -> Self {
        Self::of(Outcomes::MEMORY_BYTES)
    }

    /// With room for outcomes of so many bytes.
    fn of(capacity: usize) -> Self {
        let (clock, _) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let policies = "[[number]]\nphone_number_id = \"1003\"\nstorage = { mode = \"default\" }\n";
        let outcomes = || Outcomes::in_memory(clock.clone(), capacity).unwrap();
        let once = Once {
            outcomes: outcomes(),
            repeats: outcomes(),
            minute: Minute::REAL,
            markers: None,
            guard: Guard::new(clock.clone(), 25),
            share_percent: 25,
        };
        let meta = Meta {
            below: Arc::new(Mutex::new((Below::Accepts, 0))),
        };
        let once = OnceLayer::new(Arc::new(once)).layer(meta.clone());
        Self {
            stack: EnforceLayer::new(clock).layer(once),
            meta,
            policies: Arc::new(curfew_policies::parse(policies).unwrap()),
        }
    }

    fn call(&self, key: Option<&'static str>) -> Call {
        let mut headers = http::HeaderMap::new();
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static(key));
        }
        let message = Message {
            kind: MessageKind::Known("text"),
            media: Vec::new(),
            stray_links: Vec::new(),
            unknown_context: Vec::new(),
        };
        Call {
            context: Context {
                record: Arc::default(),
                principal: Principal {
                    policies: Arc::clone(&self.policies),
                    index: None,
                },
                credential: Credential::Caller("token".to_owned().into()),
                origin: "http://gateway".into(),
            },
            request: Request {
                subject: Subject::Number("1003".parse().unwrap()),
                generation: Generation::FromV21,
                operation: Operation::SendMessage(message),
            },
            media: Vec::new(),
            settings: SettingsFact::NotNeeded,
            recent_registrations: 0,
            destination: Destination::Graph {
                method: Method::POST,
                target: "/v23.0/1003/messages".to_owned(),
                file_offset: None,
            },
            payload: Payload::Json(bytes::Bytes::from_static(b"{}")),
            accept: None,
            announced: None,
            idempotency_key: IdempotencyKey::of(&headers).unwrap(),
            send: None,
        }
    }

    /// Sends, with this happening below; `None`: it waits, and the caller hangs up.
    fn send(&self, key: Option<&'static str>, below: Below) -> Option<Result<Answer, GatewayError>> {
        self.meta.below.lock().unwrap().0 = below;
        self.stack.clone().oneshot(self.call(key)).now_or_never()
    }

    fn sends(&self) -> usize {
        self.meta.below.lock().unwrap().1
    }
}

#[test]
fn who_hangs_up_before_anything_is_sent_leaves_the_key_free() {
    let bench = Bench::new();
    for round in 1..4 {
        assert!(bench.send(Some("k"), Below::Waits).is_none());
        assert_eq!(bench.sends(), round);
    }
    let answer = bench.send(Some("k"), Below::Accepts).unwrap().unwrap();
    assert_eq!((answer.status(), bench.sends()), (StatusCode::OK, 4));
    let again = bench.send(Some("k"), Below::Accepts).unwrap().unwrap();
    assert_eq!(
        (&again.headers()[IDEMPOTENCY_REPLAYED], bench.sends()),
        (&HeaderValue::from_static("true"), 4)
    );
}

#[test]
fn what_is_refused_below_leaves_the_key_free() {
    let bench = Bench::new();
    for round in 1..4 {
        let refused = bench.send(Some("k"), Below::Refuses).unwrap();
        assert!(matches!(refused, Err(GatewayError::Busy)));
        assert_eq!(bench.sends(), round);
    }
}

#[test]
fn while_one_waits_no_other_passes() {
    let bench = Bench::new();
    bench.meta.below.lock().unwrap().0 = Below::Waits;
    let mut first = bench.stack.clone().oneshot(bench.call(Some("k")));
    assert!((&mut first).now_or_never().is_none());
    let second = bench.send(Some("k"), Below::Accepts).unwrap();
    assert!(matches!(second, Err(GatewayError::StillRunning)));
    drop(first);
    assert!(bench.send(Some("k"), Below::Accepts).unwrap().is_ok());
    assert_eq!(bench.sends(), 2);
}

#[test]
fn what_set_out_and_did_not_come_back_is_not_known() {
    let bench = Bench::new();
    for _ in 0..3 {
        let broken = bench.send(Some("k"), Below::Breaks).unwrap();
        assert!(matches!(broken, Err(GatewayError::OutcomeUnknown)));
        assert_eq!(bench.sends(), 1);
    }
}

#[test]
fn what_there_is_no_room_for_is_not_sent() {
    let bench = Bench::of(0);
    let refused = bench.send(Some("k"), Below::Accepts).unwrap().unwrap_err();
    let answer = refused.to_response();
    assert_eq!(
        (answer.status().as_u16(), refused.slug()),
        (503, "idempotency_full")
    );
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(bench.sends(), 0);
    assert!(bench.send(None, Below::Accepts).unwrap().is_ok());
}

#[test]
fn without_a_key_everything_passes() {
    let bench = Bench::new();
    for round in 1..4 {
        let answer = bench.send(None, Below::Accepts).unwrap().unwrap();
        assert!(!answer.headers().contains_key(IDEMPOTENCY_REPLAYED));
        assert_eq!(bench.sends(), round);
    }
}
