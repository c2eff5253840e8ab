use super::{GOOD, assert_problem};
use crate::file::parse;

const SECOND: &str = "[[number]]\nphone_number_id = \"1002\"\nstorage = { mode = \"default\" }\n";

#[test]
fn portfolios_are_read() {
    let text = format!(
        "{GOOD}{SECOND}[[portfolio]]\nnumbers = [\"1002\", \"1001\"]\nunique_recipients_24h = 2_000\n"
    );
    let policies = parse(&text).unwrap();
    let [portfolio] = &policies.portfolios[..] else {
        panic!("one portfolio");
    };
    let numbers: Vec<_> = portfolio.numbers.iter().map(ToString::to_string).collect();
    assert_eq!(numbers, ["1002", "1001"]);
    assert_eq!(portfolio.unique_recipients_24h, 2_000);
}

#[test]
fn a_number_is_in_one_portfolio() {
    let portfolio =
        |number: &str| format!("[[portfolio]]\nnumbers = [\"{number}\"]\nunique_recipients_24h = 250\n");
    let text = format!(
        "{GOOD}{SECOND}{}{}",
        portfolio("1001"),
        portfolio("1002\", \"1001")
    );
    assert_problem(
        &text,
        11,
        "portfolio[1].numbers",
        &["1001 is in the portfolio in line 7 already"],
    );
    let twice = format!("{GOOD}{}", portfolio("1001\", \"1001"));
    assert_problem(&twice, 5, "portfolio[0].numbers[1]", &["is listed twice"]);
    let unknown = format!("{GOOD}{}", portfolio("1009"));
    assert_problem(
        &unknown,
        5,
        "portfolio[0].numbers[0]",
        &["no [[number]] declares 1009"],
    );
}

#[test]
fn what_a_portfolio_needs_is_told() {
    let portfolio = |lines: &str| format!("{GOOD}[[portfolio]]\n{lines}\n");
    let numbers = "numbers = [\"1001\"]";
    assert_problem(
        &portfolio(numbers),
        4,
        "portfolio[0].unique_recipients_24h",
        &["is missing", "= 2000"],
    );
    assert_problem(
        &portfolio("unique_recipients_24h = 250"),
        4,
        "portfolio[0].numbers",
        &["is missing"],
    );
    assert_problem(
        &portfolio("numbers = []\nunique_recipients_24h = 250"),
        5,
        "portfolio[0].numbers",
        &["at least one phone_number_id", "share its limit"],
    );
    for count in ["0", "1000001", "\"TIER_2K\""] {
        assert_problem(
            &portfolio(&format!("{numbers}\nunique_recipients_24h = {count}")),
            6,
            "portfolio[0].unique_recipients_24h",
            &["from 1 to 1000000", "leave the portfolio out"],
        );
    }
    assert_problem(
        &portfolio(&format!("{numbers}\nunique_recipients_24h = 250\nlimit = 1")),
        7,
        "portfolio[0].limit",
        &["not known", "numbers, unique_recipients_24h"],
    );
}
