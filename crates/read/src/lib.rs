//! A study → its images → the program → a reading: the one path that command line, service and evaluation share.
//!
//! In reading order: [`intake`] finds studies among files, [`patients`] refuses those of two patients, [`program`] tells which of them a program reads,
//! [`considered`] why and why not, [`series`] which slices and in which order, [`cine`] which frames of a clip, `frames` makes them ready for the graph, `run` runs them, `crew` in several threads,
//! [`reader`] reads one, [`slide`] reads whole slides in tiles, [`sides`] makes frames findings, [`batch`] reads many in parallel and in order, [`result`] is the answer as JSON,
//! [`overlay`] is the answer as a picture, [`pictures`] are all of a reading's, [`artifacts`] files it as DICOM objects.
//! [`tiles`] are what was said of the parts of a slide, as tables and outlines.
//!
//! No sockets, no databases, no HTTP.

pub mod artifacts;
pub mod batch;
pub mod cine;
pub mod considered;
mod crew;
mod frames;
pub mod intake;
pub mod overlay;
pub mod patients;
pub mod pictures;
pub mod program;
pub mod reader;
pub mod result;
mod run;
pub mod series;
pub mod sides;
pub mod slide;
pub mod tiles;

pub use batch::Workers;
pub use intake::{Overrides, Study, find_studies};
pub use program::Program;
pub use reader::{Options, Reader};
pub use result::{Status, StudyResult};
