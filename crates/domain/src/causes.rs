//! Errors as people read them.

use std::error::Error;

/// An error with its causes, as one sentence: `reading a study: the database failed: connection refused`.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the table is gone")]
    struct Inner;
    #[derive(Debug, thiserror::Error)]
    #[error("a query failed")]
    struct Outer(#[source] Inner);

    #[test]
    fn causes_follow_their_effects() {
        assert_eq!(sentence(&Outer(Inner)), "a query failed: the table is gone");
        assert_eq!(sentence(&Inner), "the table is gone");
    }
}
