//! No secret is ever shown, wherever it stands.

use proptest::prelude::*;

use super::example::whole_example;
use super::*;

#[test]
fn secrets_are_not_in_the_debug_form_of_the_configuration() {
    let site = Site::new();
    let text = format!("{HEAD}upstream.token = {{ env = \"CURFEW_GRAPH_TOKEN\" }}\n");
    let config = site.load(&text).unwrap().config;
    assert!(!format!("{config:?}").contains(TOKEN));
}

#[test]
fn a_secret_that_cannot_be_used_is_not_shown() {
    let site = Site::new();
    for (place, content) in [
        ("token", format!("{TOKEN} {TOKEN}")),
        ("token", format!("{TOKEN}\n\n")),
        ("app_secret", format!("\u{feff}{TOKEN}")),
        ("app_secret", TOKEN.repeat(400)),
    ] {
        site.write("secrets/unfit", &content);
        for reference in ["{ file = \"secrets/unfit\" }", "{ env = \"UNFIT\" }"] {
            site.write(
                "curfew.toml",
                &format!("{HEAD}[upstream]\n{place} = {reference}\n"),
            );
            let unfit = |_: &str| Ok(content.clone());
            let problems = load_with(&site.path("curfew.toml"), &unfit).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems}");
            assert!(
                no_window_of(TOKEN, &format!("{problems}\n{problems:?}")),
                "{problems}"
            );
        }
    }
}

#[test]
fn a_secret_in_the_place_of_a_key_is_not_shown_however_often_it_comes() {
    let site = Site::new();
    for text in [
        format!("{TOKEN}{TOKEN} = 1\n{TOKEN}{TOKEN} = 2\n"),
        format!("[{TOKEN}{TOKEN}]\n[{TOKEN}{TOKEN}]\n"),
        format!("upstream = {{ {TOKEN}{TOKEN} = 1, {TOKEN}{TOKEN} = 2 }}\n"),
        format!("upstream.token.{TOKEN}{TOKEN}.{TOKEN}{TOKEN} = 1\n"),
    ] {
        let problems = site.problems(&format!("{HEAD}{text}"));
        assert!(
            no_window_of(TOKEN, &format!("{problems}\n{problems:?}")),
            "{problems}"
        );
    }
}

fn no_window_of(canary: &str, text: &str) -> bool {
    canary.as_bytes().windows(12).all(|window| {
        let window = std::str::from_utf8(window).unwrap();
        !text.contains(window)
    })
}

/// A secret by the look of it: letters and digits, as Graph tokens are; some too long for the name of a file.
fn canary() -> impl Strategy<Value = String> {
    "EAAG[A-Za-z0-9]{40,300}"
}

proptest! {
    /// Somebody pastes a token somewhere: into a value, a key, a comment, between two lines.
    #[test]
    fn a_secret_pasted_anywhere_is_never_shown(canary in canary(), place: prop::sample::Index, quoted: bool, line: bool) {
        thread_local!(static SITE: Site = Site::new());
        let mut text = whole_example();
        let places: Vec<_> = text.char_indices().map(|(index, _)| index).collect();
        let mut pasted = if quoted { format!("\"{canary}\"") } else { canary.clone() };
        if line {
            pasted.push('\n');
        }
        text.insert_str(*place.get(&places), &pasted);
        let shown = SITE.with(|site| site.load(&text).map(|_| ()).map_err(|problems| format!("{problems}\n{problems:?}")));
        if let Err(shown) = shown {
            prop_assert!(no_window_of(&canary, &shown), "{}", shown);
        }
    }

    /// Somebody writes a token where a reference to it, or any other value, belongs.
    #[test]
    fn a_secret_in_the_place_of_a_value_is_never_shown(canary in canary(), place: prop::sample::Index, form in 0..5) {
        thread_local!(static SITE: Site = Site::new());
        let example = whole_example();
        let mut lines: Vec<_> = example.lines().map(str::to_owned).collect();
        let settings: Vec<_> = (0..lines.len())
            .filter(|index| lines[*index].starts_with(|c: char| c.is_ascii_lowercase()))
            .collect();
        let setting = &mut lines[*place.get(&settings)];
        let key = setting.split(" =").next().unwrap().to_owned();
        *setting = match form {
            0 => format!("{key} = \"{canary}\""),
            1 => format!("{key} = {canary}"),
            2 => format!("{key} = {{ env = \"{canary}\" }}"),
            3 => format!("{key} = {{ file = \"{canary}\" }}"),
            _ => format!("{key} = [\"{canary}\"]"),
        };
        let text = lines.join("\n");
        let shown = SITE.with(|site| site.load(&text).map(|_| ()).map_err(|problems| format!("{problems}\n{problems:?}")));
        // A path need not exist for `store.path` and `audit.path`; everything else is refused.
        if let Err(shown) = shown {
            prop_assert!(no_window_of(&canary, &shown), "{}", shown);
        } else {
            prop_assert!(key == "path" && form == 0, "{} was taken", text);
        }
    }
}
