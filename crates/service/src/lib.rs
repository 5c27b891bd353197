//! The reader's role.
