use super::{GOOD, assert_number_problem, only_number};
use crate::policy::{SendClass, WhenLimited};

const SENDS: &str = "storage = { mode = \"default\" }\n[number.sends]\n";

#[test]
fn what_is_kept_for_inbound_leaves_something_to_send() {
    let kept = |lines: &str| {
        only_number(&format!("{GOOD}[number.sends]\n{lines}"))
            .sends
            .kept_for_inbound
    };
    assert_eq!(kept("kept_for_inbound = 79"), 79);
    assert_eq!(kept("per_second = 1000\nkept_for_inbound = 999"), 999);
    assert_eq!(kept("per_second = 1\nkept_for_inbound = 0"), 0);
    for (lines, line, most) in [
        ("kept_for_inbound = 80", 5, "from 0 to 79"),
        ("per_second = 20\nkept_for_inbound = 20", 6, "from 0 to 19"),
        ("kept_for_inbound = -1", 5, "from 0 to 79"),
    ] {
        assert_number_problem(
            &format!("{SENDS}{lines}"),
            line,
            "sends.kept_for_inbound",
            &[most, "per_second"],
        );
    }
}

#[test]
fn classes_say_what_happens_to_them_and_which_templates_are_theirs() {
    let sends = only_number(&format!(
        "{GOOD}[number.sends]\nwhen_limited = \"reject\"\n\
         [number.sends.classes.utility]\nwhen_limited = \"wait\"\ntemplates = [\"receipt\", \"visit_2\"]\n\
         [number.sends.classes.marketing]\ntemplates = []\n\
         [number.sends.classes.service]\nwhen_limited = \"wait\"\n"
    ))
    .sends;
    let limited = SendClass::ALL.map(|class| sends.when_limited(class));
    use WhenLimited::{Reject, Wait};
    assert_eq!(limited, [Reject, Wait, Wait, Reject]);
    let templates: Vec<_> = sends.classes.templates.into_iter().collect();
    let expected = ["receipt", "visit_2"].map(|name| (name.to_owned(), SendClass::Utility));
    assert_eq!(templates, expected);
}

#[test]
fn a_template_has_one_class() {
    let classes = format!("{SENDS}[number.sends.classes]\nutility.templates = [\"a\", \"b\"]\n");
    assert_number_problem(
        &format!("{classes}marketing.templates = [\"c\", \"b\"]"),
        7,
        "sends.classes.marketing.templates[1]",
        &["\"b\"", "under utility already", "line 6"],
    );
    assert_number_problem(
        &format!("{classes}marketing.templates = [\"c\",\n\"c\"]"),
        8,
        "sends.classes.marketing.templates[1]",
        &["is listed twice"],
    );
}

#[test]
fn what_is_no_class_or_no_template_is_told() {
    let classes = format!("{SENDS}[number.sends.classes]\n");
    assert_number_problem(
        &format!("{classes}otp = {{}}"),
        6,
        "sends.classes.otp",
        &["not known", "authentication, utility, service, marketing"],
    );
    assert_number_problem(
        &format!("{classes}utility = {{ template = [] }}"),
        6,
        "sends.classes.utility.template",
        &["not known", "when_limited, templates"],
    );
    assert_number_problem(
        &format!("{classes}service.templates = [\"a\"]"),
        6,
        "sends.classes.service.templates",
        &["free-form", "authentication, utility or marketing"],
    );
    assert_number_problem(
        &format!("{classes}service.when_limited = \"drop\""),
        6,
        "sends.classes.service.when_limited",
        &["\"wait\", \"reject\"", "\"drop\""],
    );
    for name in ["", "Spring", "a-b", "a b", "é", &"a".repeat(513)] {
        assert_number_problem(
            &format!("{classes}utility.templates = [\"{name}\"]"),
            6,
            "sends.classes.utility.templates[0]",
            &["a template's name", "1 to 512 characters"],
        );
    }
}
