//! Text that is burned into pixels: found, and removed from every frame.
//!
//! In reading order: a [`Region`] is a rectangle that goes, and why; `known` tells regions by the header alone, `views`
//! shows a frame as a person could see it, [`detect`] finds text in views by a graph, `components` turns the graph's map
//! into boxes, `lines` tells words from noise; `paint` blackens regions in stored frames, `attributes` says so in the header; a [`TextRemover`] does it
//! all; [`second_look`] has another engine read what would go out.
//!
//! What it writes is an original still: who the patient is goes from the header afterwards
//! ([`Deidentifier`](crate::Deidentifier), with [`Pixels::Cleaned`](crate::Pixels)).

mod attributes;
mod clean;
mod components;
pub mod detect;
mod error;
mod known;
mod lines;
mod paint;
mod region;
pub mod second_look;
mod views;

pub use clean::{Cleaned, TextRemover};
pub use error::PixelError;
pub use region::{Region, Why};
