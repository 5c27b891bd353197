//! A study → its images → the program → a reading: the one path that command line, service and evaluation share.
//!
//! In reading order: [`intake`] finds studies among files, [`program`] tells which of them a program reads,
//! [`series`] which slices and in which order, [`cine`] which frames of a clip, [`reader`] reads one, [`batch`] reads many in parallel and in order, [`result`] is the answer as JSON,
//! [`overlay`] is the answer as a picture, [`pictures`] are all of a reading's, [`artifacts`] files it as DICOM objects.
//!
//! No sockets, no databases, no HTTP.

pub mod artifacts;
pub mod batch;
pub mod cine;
pub mod intake;
pub mod overlay;
pub mod pictures;
pub mod program;
pub mod reader;
pub mod result;
pub mod series;

pub use batch::Workers;
pub use intake::{Overrides, Study, find_studies};
pub use program::Program;
pub use reader::{Options, Reader};
pub use result::{Status, StudyResult};
