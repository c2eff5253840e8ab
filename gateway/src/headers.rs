//! Header values that outlive the message that they came in.

use http::{HeaderMap, HeaderValue};

/// Gives each value memory of its own.
///
/// As hyper parses them, values are windows into the buffer that was read, so each keeps the whole buffer alive, body and all.
/// And HTTP/2 keeps values that it has sent: its compression table lives as long as the connection (RFC 7541 section 2.3.2).
pub fn detach(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        // What was a value is one.
        if let Ok(mut own) = HeaderValue::from_bytes(value.as_bytes()) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_detached_value_keeps_nothing_of_its_message() {
        let message = Bytes::from(b"content-type: a/b\r\n\r\ncontent".to_vec());
        let mut value = HeaderValue::from_maybe_shared(message.slice(14..17)).unwrap();
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", value);
        assert!(!message.is_unique());
        detach(&mut headers);
        assert!(message.is_unique());
        assert_eq!(headers["content-type"], "a/b");
        assert!(headers["content-type"].is_sensitive());
    }
}
