use super::*;

fn same(world: &World, one: Recipient<'_>, other: Recipient<'_>) -> bool {
    let id = |recipient| world.limits.identify(number(NUMBER), recipient);
    id(one) == id(other)
}

#[test]
fn a_recipient_is_one_however_they_are_written() {
    let world = world("");
    let plain = Recipient::Phone("+16505551234");
    for spelling in [
        "+1 650 555 1234",
        "+1 (650) 555-1234",
        " +1-650-555-1234 ",
        "+1.650.555.1234",
    ] {
        assert!(same(&world, plain, Recipient::Phone(spelling)), "{spelling}");
    }
    for other in ["+16505551235", "+6505551234", "", "+", "abc"] {
        assert!(!same(&world, plain, Recipient::Phone(other)), "{other}");
    }
    // One name of another kind is somebody else.
    assert!(!same(&world, Recipient::Group("16505551234"), plain));
    assert!(!same(&world, Recipient::UserId("16505551234"), plain));
    assert!(!same(
        &world,
        Recipient::UserId("US.A1"),
        Recipient::UserId("US.a1")
    ));
    assert!(!same(&world, Recipient::Phone("abc"), Recipient::Phone("abd")));
}

#[test]
fn to_wins_over_recipient_and_a_group_is_no_phone_number() {
    let written = |to: Option<&'static str>, recipient: Option<&'static str>, kind: Option<&'static str>| {
        crate::graph::message::Recipient {
            to: to.map(Into::into),
            recipient: recipient.map(Into::into),
            recipient_type: kind.map(Into::into),
        }
    };
    for (written, expected) in [
        (written(Some("+1"), Some("US.1"), None), Recipient::Phone("+1")),
        (
            written(Some("+1"), None, Some("individual")),
            Recipient::Phone("+1"),
        ),
        (written(Some("g1"), None, Some("group")), Recipient::Group("g1")),
        (written(None, Some("US.1"), None), Recipient::UserId("US.1")),
        (written(None, None, None), Recipient::Phone("")),
    ] {
        assert!(Recipient::of(&written) == expected);
    }
}

#[test]
fn a_missing_country_code_is_the_numbers_own() {
    let world = world("");
    let whole = Recipient::Phone("+49 151 1234567");
    let local = Recipient::Phone("151 1234567");
    let without_plus = Recipient::Phone("491511234567");
    assert!(same(&world, whole, without_plus));
    assert!(!same(&world, whole, local));
    world
        .limits
        .set_country(number(NUMBER), CountryCode::parse("49").unwrap());
    assert!(same(&world, whole, local) && same(&world, whole, without_plus));
    // Another number's country is its own.
    let theirs = world.limits.identify(number("1002"), local);
    assert_ne!(theirs, world.limits.identify(number(NUMBER), whole));
    for text in ["", "0", "049", "1234", "4a", "+49"] {
        assert_eq!(CountryCode::parse(text), None);
    }
}

#[test]
fn a_country_code_is_learnt_from_an_answer() {
    let world = world("pair = { seconds = 6, burst = 1 }\nwhen_limited = \"reject\"");
    assert!(world.now(&message("1511234567")).is_ok());
    world
        .limits
        .learn(number(NUMBER), Recipient::Phone("1511234567"), "491511234567");
    assert!(same(
        &world,
        Recipient::Phone("30 7654321"),
        Recipient::Phone("+49307654321")
    ));
    // What was counted before it was known counts for the same person.
    assert_eq!(limited(world.now(&message("+491511234567"))).0, "pair");
}

#[test]
fn what_meta_answers_joins_what_was_counted_apart() {
    let world = world("per_second = 100\npair = { seconds = 6, burst = 4 }\nwhen_limited = \"reject\"");
    // A mobile number in Brazil, with and without its ninth digit, and one person's user id.
    let (long, short) = ("+55 11 91234-5678", "+551112345678");
    assert!(world.now(&message(long)).is_ok());
    assert!(world.now(&message(short)).is_ok());
    let user = Ask {
        what: What::Message {
            recipient: Recipient::UserId("BR.1a"),
            class: SendClass::Service,
            is_template: false,
        },
        ..message("")
    };
    assert!(world.now(&user).is_ok());
    world
        .limits
        .learn(number(NUMBER), Recipient::Phone(long), "551112345678");
    world
        .limits
        .learn(number(NUMBER), Recipient::UserId("BR.1a"), "551112345678");
    assert!(same(&world, Recipient::Phone(long), Recipient::UserId("BR.1a")));
    // Three of four are spent, whoever is asked.
    assert!(world.now(&user).is_ok());
    for ask in [message(long), message(short), user] {
        assert_eq!(limited(world.now(&ask)), ("pair", Some(6 * SECOND)));
    }
}

#[test]
fn two_names_of_one_person_count_once_in_a_portfolio() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 2";
    let world = world_with(&policies("", portfolio), WaitingRoom::DEFAULT);
    let counted = || world.limits.snapshot().portfolios[0].counted;
    for to in ["+5511912345678", "+551112345678"] {
        assert!(world.now(&template(to, SendClass::Utility)).is_ok());
        world.time.advance(SECOND);
    }
    assert_eq!(counted(), 2);
    world
        .limits
        .learn(number(NUMBER), Recipient::Phone("+5511912345678"), "551112345678");
    assert_eq!(counted(), 1);
    // The later of the two messages is what counts.
    world.time.advance(DAY - SECOND - Duration::from_nanos(1));
    assert_eq!(counted(), 1);
    world.time.advance(Duration::from_nanos(1));
    assert_eq!(counted(), 0);
}

#[test]
fn wrong_answers_lead_to_no_loop() {
    let world = world("");
    let learn = |to: &str, wa_id: &str| world.limits.learn(number(NUMBER), Recipient::Phone(to), wa_id);
    learn("+11", "12");
    learn("+12", "11");
    learn("+13", "");
    learn("+13", "not a number");
    assert!(same(&world, Recipient::Phone("+11"), Recipient::Phone("+12")));
    assert!(!same(&world, Recipient::Phone("+13"), Recipient::Phone("+11")));
}

#[test]
fn nobody_can_be_read_from_what_is_shown() {
    let world = world("");
    let ask = message("+16505551234");
    let id = world
        .limits
        .identify(number(NUMBER), Recipient::Phone("+16505551234"));
    let shown = format!("{ask:?} {id:?} {:?}", world.now(&ask));
    assert!(!shown.contains("650"), "{shown}");
    // Keys tell nothing about each other's hashes.
    let key = |secret: &[u8]| RecipientKey::derived_from(secret).unwrap();
    let of = |key| {
        let (clock, _) = Clock::manual(START);
        let limits = SendLimits::new(
            &policies("", ""),
            key,
            clock,
            Minute::REAL,
            WaitingRoom::DEFAULT,
            |_| {},
        );
        limits.identify(number(NUMBER), Recipient::Phone("+16505551234"))
    };
    assert_eq!(of(key(b"one")), of(key(b"one")));
    assert_ne!(of(key(b"one")), of(key(b"two")));
    assert_ne!(
        of(RecipientKey::random().unwrap()),
        of(RecipientKey::random().unwrap())
    );
}

#[test]
fn a_whole_number_says_its_country_code() {
    for (number, code) in [
        ("15550783881", Some("1")),
        ("+7 495 123-45-67", Some("7")),
        ("4930123456", Some("49")),
        ("38640123456", Some("386")),
        ("420123456789", Some("420")),
        ("5511987654321", Some("55")),
        ("85212345678", Some("852")),
        ("971501234567", Some("971")),
        ("919812345678", Some("91")),
        ("20", Some("20")),
        ("38", None),
        ("0049", None),
        ("", None),
    ] {
        assert_eq!(
            CountryCode::leading(number),
            code.and_then(CountryCode::parse),
            "{number}"
        );
    }
}
