//! Which class the templates of an account are of, as far as reads of them have shown.
//!
//! The policy's own list counts more. What neither names is marketing: nothing is urgent because nobody said what it is.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use curfew_policies::{SendClass, WabaId};

/// How many templates are remembered of all accounts together; later ones are marketing. An account has 6,000 at most
/// (Cloud API, "Templates"), so this is ten of them.
const MOST_TEMPLATES: usize = 60_000;

/// What reads of templates have taught. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct TemplateClasses(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    classes: HashMap<WabaId, HashMap<Box<str>, SendClass>>,
    count: usize,
}

impl TemplateClasses {
    /// The class of the template `name` of `account`.
    #[must_use]
    pub fn find(&self, account: WabaId, name: &str) -> Option<SendClass> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.classes.get(&account)?.get(name).copied()
    }

    /// Learns from a page of `account`'s templates. A name that the page has in several languages is of the least urgent
    /// class that it has in any.
    pub fn learn<'n>(&self, account: WabaId, page: impl IntoIterator<Item = (&'n str, SendClass)>) {
        let mut of_page: HashMap<&str, SendClass> = HashMap::new();
        for (name, class) in page {
            let least = of_page.entry(name).or_insert(class);
            *least = (*least).max(class);
        }
        if of_page.is_empty() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Known { classes, count } = &mut *known;
        let classes = classes.entry(account).or_default();
        for (name, class) in of_page {
            if let Some(before) = classes.get_mut(name) {
                *before = class;
            } else if *count < MOST_TEMPLATES {
                classes.insert(name.into(), class);
                *count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_of_the_class_that_was_read_last_and_the_least_urgent_of_its_languages() {
        let templates = TemplateClasses::default();
        let account: WabaId = "77".parse().unwrap();
        assert_eq!(templates.find(account, "otp"), None);
        let page = [
            ("otp", SendClass::Authentication),
            ("news", SendClass::Marketing),
            ("news", SendClass::Utility),
        ];
        templates.learn(account, page);
        assert_eq!(templates.find(account, "otp"), Some(SendClass::Authentication));
        assert_eq!(templates.find(account, "news"), Some(SendClass::Marketing));
        assert_eq!(templates.find("78".parse().unwrap(), "otp"), None);
        // Meta has put it into another category since.
        templates.learn(account, [("otp", SendClass::Marketing)]);
        assert_eq!(templates.find(account, "otp"), Some(SendClass::Marketing));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let templates = TemplateClasses::default();
        let account: WabaId = "77".parse().unwrap();
        let names: Vec<_> = (0..=MOST_TEMPLATES).map(|nth| nth.to_string()).collect();
        for name in &names {
            templates.learn(account, [(name.as_str(), SendClass::Utility)]);
        }
        let known = names
            .iter()
            .filter(|name| templates.find(account, name).is_some());
        assert_eq!(known.count(), MOST_TEMPLATES);
    }
}
