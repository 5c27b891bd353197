//! Patient identity has a type that cannot be printed.

/// Something that tells who the patient is.
///
/// It has no `Debug`, `Display` or `Serialize`, so it cannot end in a log, an error message or a
/// JSON document by accident. [`Identified::reveal`] is the one way out; each call is a place
/// that a reviewer looks at.
#[derive(Clone, PartialEq)]
pub struct Identified<T>(T);

impl<T> Identified<T> {
    /// Marks a value as identifying.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The identifying value, for writing it into an object that stays with the patient.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}
