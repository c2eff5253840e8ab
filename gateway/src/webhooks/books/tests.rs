//! What webhooks do to limits and pins.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use curfew_policies::{PhoneNumberId, SendClass};
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualTime;
use crate::stores::limits::{Ask, Event, Limited, RecipientKey, Share, WaitingRoom, What};

const START: u64 = 1_800_000_000;
const POLICIES: &str = r#"
[[number]]
phone_number_id = "1001"
waba_id = "77"
storage = { mode = "no_storage" }
[number.sends]
per_second = 20
burst = 20
kept_for_inbound = 10
when_limited = "reject"
[[number]]
phone_number_id = "1002"
waba_id = "77"
storage = { mode = "in_country", region = "DE" }
[[portfolio]]
numbers = ["1001", "1002"]
unique_recipients_24h = 1
"#;

struct Site {
    books: InboundBooks,
    time: ManualTime,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Site {
    fn new() -> Self {
        let (clock, time) = Clock::manual(Timestamp::from_millis(START * 1_000));
        let policies = curfew_policies::parse(POLICIES).unwrap();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let heard = Arc::clone(&events);
        let key = RecipientKey::derived_from(b"a secret of the tests").unwrap();
        let on_event = move |event: &Event| heard.lock().unwrap().push(*event);
        let minute = Minute::REAL;
        let books = InboundBooks {
            limits: SendLimits::new(
                &policies,
                key,
                clock.clone(),
                minute,
                WaitingRoom::DEFAULT,
                on_event,
            ),
            pins: MediaPins::in_memory(clock.clone(), minute),
            policies: Arc::new(ArcSwap::from_pointee(policies)),
            seen: SeenEvents::new(clock.clone(), minute),
            markers: MarkerKey::derived_from(b"the app's secret").unwrap(),
            outcomes: [1, 2].map(|_| Outcomes::in_memory(clock.clone(), 1 << 20).unwrap()),
            clock,
            minute,
        };
        Self { books, time, events }
    }

    async fn note(&self, number: u64, part: Value) -> Tally {
        let mut value = part;
        value["metadata"] =
            json!({"phone_number_id": number.to_string(), "display_phone_number": "4930123456"});
        let body = json!({"entry": [{"changes": [{"field": "messages", "value": value}]}]}).to_string();
        self.books.note(&webhook::read(body.as_bytes())).await.unwrap()
    }

    fn taken(&self) -> u64 {
        self.books.limits.snapshot().numbers["1001"].taken
    }

    /// Asks to send a template now.
    fn template(&self, to: Recipient<'_>) -> Result<(), Limited> {
        let what = What::Message {
            recipient: to,
            class: SendClass::Utility,
            is_template: true,
        };
        let ask = Ask {
            number: number(1001),
            app: 0,
            share: Share {
                caller: 1,
                weight: std::num::NonZeroU32::MIN,
            },
            what,
            bytes: 100,
        };
        let admit = std::pin::pin!(self.books.limits.admit(&ask));
        match admit.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(admitted) => admitted.map(drop),
            Poll::Pending => panic!("this number rejects"),
        }
    }
}

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

fn text(id: &str, from: &str, sent: u64) -> Value {
    json!({"id": id, "from": from, "type": "text", "timestamp": sent.to_string(), "text": {"body": "x"}})
}

#[tokio::test]
async fn what_comes_in_counts_once_however_often_it_is_delivered() {
    let site = Site::new();
    for _ in 0..3 {
        let tally = site
            .note(
                1001,
                json!({"messages": [text("wamid.a", "49151", START), text("wamid.b", "49152", START)]}),
            )
            .await;
        assert_eq!(tally.messages, 2);
    }
    assert_eq!(site.taken(), 2);
    site.note(1002, json!({"messages": [text("wamid.c", "49151", START)]}))
        .await;
    assert_eq!(site.taken(), 2, "another number's");
    assert_eq!(
        site.note(1003, json!({"messages": [text("wamid.d", "49151", START)]}))
            .await,
        Tally::default()
    );
}

#[tokio::test]
async fn whoever_wrote_is_not_among_the_unique_recipients() {
    let site = Site::new();
    let counted = |site: &Site| site.books.limits.snapshot().portfolios[0].counted;
    site.note(
        1001,
        json!({"messages": [text("wamid.a", "4915112345678", START)]}),
    )
    .await;
    // However they are written: the number's own country is known from the webhook.
    site.template(Recipient::Phone("+49 151 12345678")).unwrap();
    site.template(Recipient::Phone("15112345678")).unwrap();
    assert_eq!(counted(&site), 0);
    site.template(Recipient::Phone("+1 650 555 1234")).unwrap();
    assert_eq!(counted(&site), 1);
    let limited = site.template(Recipient::UserId("US.7")).unwrap_err();
    assert_eq!(limited.which.name(), "unique_recipients");
    // Both names of one person.
    site.note(
        1001,
        json!({"contacts": [{"wa_id": "4915112345678", "user_id": "US.7"}]}),
    )
    .await;
    site.template(Recipient::UserId("US.7")).unwrap();
    assert_eq!(counted(&site), 1);
}

#[tokio::test]
async fn a_message_that_comes_late_opens_no_window() {
    let site = Site::new();
    site.note(
        1001,
        json!({"messages": [text("wamid.a", "4915112345678", START - 61)]}),
    )
    .await;
    let mut reaction = text("wamid.b", "4915112345679", START);
    reaction["type"] = "reaction".into();
    site.note(1001, json!({ "messages": [reaction] })).await;
    assert_eq!(site.taken(), 2);
    assert_eq!(site.books.limits.snapshot().numbers["1001"].service_windows, 0);
    site.note(
        1001,
        json!({"messages": [text("wamid.c", "4915112345678", START - 60)]}),
    )
    .await;
    assert_eq!(site.books.limits.snapshot().numbers["1001"].service_windows, 1);
}

#[tokio::test]
async fn metas_complaints_count_as_those_in_answers_do() {
    let failed = |id: &str, code: i64| json!({"statuses": [{"id": id, "status": "failed", "recipient_id": "4915112345678", "errors": [{"code": code}]}]});
    let site = Site::new();
    for code in [131_049, 131_050, 131_026, 4] {
        site.note(1001, failed(&format!("wamid.{code}"), code)).await;
    }
    assert!(site.events.lock().unwrap().is_empty());
    for _ in 0..3 {
        site.note(1001, failed("wamid.pair", 131_056)).await;
    }
    let closed = |seconds| Event::PairClosed {
        number: number(1001),
        seconds,
    };
    assert_eq!(*site.events.lock().unwrap(), [closed(1)], "once");
    let limited = site.template(Recipient::Phone("+4915112345678")).unwrap_err();
    assert_eq!(limited.which.name(), "pair");
    site.note(1001, failed("wamid.spam", 131_048)).await;
    site.note(1001, json!({"errors": [{"code": 131_031}]})).await;
    let stopped = site.books.limits.snapshot().closed;
    let stopped: Vec<_> = stopped.iter().map(|closed| (closed.what, closed.code)).collect();
    assert_eq!(stopped, [("account", 131_031), ("number", 131_048)]);
}

#[tokio::test]
async fn media_end_when_meta_ends_them() {
    let site = Site::new();
    let image = |sent: u64| json!({"messages": [{"id": "wamid.a", "type": "image", "timestamp": sent.to_string(), "image": {"id": "71"}}]});
    let ends = |site: &Site| site.books.pins.find("71".parse().unwrap()).unwrap().ends.millis() / 1_000;
    for (number, life) in [(1001, 3_600), (1002, 7 * 86_400)] {
        let site = Site::new();
        assert_eq!(site.note(number, image(START + 100)).await.media, 1);
        assert_eq!(
            ends(&site),
            START + life,
            "a time that lies ahead is not believed"
        );
        site.note(number, image(START - 100)).await;
        assert_eq!(ends(&site), START - 100 + life);
        site.time.advance(Duration::from_secs(50));
        site.note(number, image(START)).await;
        assert_eq!(ends(&site), START - 100 + life, "never later than before");
    }
    let mut untimed = image(START);
    untimed["messages"][0]
        .as_object_mut()
        .unwrap()
        .remove("timestamp");
    site.note(1001, untimed).await;
    assert_eq!(ends(&site), START + 3_600);
}
