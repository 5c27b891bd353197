//! DICOM bytes and photographs → images; findings → DICOM objects.
//!
//! In reading order: [`mod@read`] opens files and decodes frames, [`mod@write`] makes structured reports,
//! secondary captures and DX objects; [`parallel`] shares work among threads. No sockets, no databases, no models.

pub mod parallel;
pub mod read;
pub mod write;
