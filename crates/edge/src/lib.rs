//! The hospital's role.
