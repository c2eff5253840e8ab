//! Cases for the rules' tests.
