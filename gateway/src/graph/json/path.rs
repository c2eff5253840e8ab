//! Where the walk is.

use std::fmt::Write as _;

use curfew_policies::shown;

/// Room for the longest path that Meta documents.
const PATH_AT_FIRST: usize = 80;

/// The way from the document to a value: a list on the stack, written out only when something is found.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'p> {
    Document,
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Self = Self {
        parent: None,
        step: Step::Document,
    };

    /// The path of what is one step further.
    pub(super) fn then(&'p self, step: Step<'p>) -> Self {
        Self {
            parent: Some(self),
            step,
        }
    }

    /// The path as text, such as `template.components[0].type`. Long keys are cut short.
    pub(crate) fn rendered(&self) -> String {
        let mut text = String::with_capacity(PATH_AT_FIRST);
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(text);
        }
        match self.step {
            Step::Document => {}
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&shown(key));
            }
            Step::Index(index) => {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "[{index}]");
            }
        }
    }
}
