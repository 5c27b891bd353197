//! DICOM bytes and photographs → images; findings → DICOM objects.
//!
//! In reading order: [`mod@read`] opens files and decodes frames, [`mod@write`] makes structured reports,
//! secondary captures and DX objects. No sockets, no databases, no models.

pub mod read;
pub mod write;
