//! Searching bytes as they go by.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input};
use dicom_core::Tag;

use super::needles::{Edge, Form, Needle, Needles};
use super::{Found, grams};

/// Bytes beyond a match that decide about it: a UID in UTF-16 and what stands around.
const AROUND: usize = 160;
/// Bytes that are looked at in one go: few enough to stay in a core's own cache.
const PIECE: usize = 16 * 1024;
/// Bytes of pixel data that the sieve clears or holds back at once.
const BLOCK: usize = 4096;

/// Looks at bytes that come piece by piece.
pub(crate) struct Search {
    needles: Arc<Needles>,
    uids: HashMap<String, Tag>,
    window: Vec<u8>,
    /// Where the window starts in the whole.
    at: u64,
    /// Matches that start before this place of the window were decided with an earlier piece.
    decided: usize,
    /// Where pixel data start in the whole, and how long a match there must be.
    pixels: Option<(u64, usize)>,
    found: BTreeMap<Tag, Found>,
}

impl Search {
    pub(super) fn new(needles: Arc<Needles>, uids: HashMap<String, Tag>) -> Self {
        let window = Vec::with_capacity(2 * PIECE + 4 * (needles.longest + AROUND));
        Self { needles, uids, window, at: 0, decided: 0, pixels: None, found: BTreeMap::new() }
    }

    /// Looks at the next piece.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if self.needles.machine.is_some() {
            bytes.chunks(PIECE).for_each(|piece| self.take_piece(piece));
        }
    }

    fn take_piece(&mut self, bytes: &[u8]) {
        self.window.extend_from_slice(bytes);
        let margin = self.needles.longest + AROUND;
        if self.window.len() < PIECE.max(2 * margin) {
            return;
        }
        let until = self.window.len() - margin;
        self.search(until);
        // What stands before a match decides about it too.
        let keep_from = until.saturating_sub(AROUND);
        self.window.drain(..keep_from);
        self.at += keep_from as u64;
        self.decided = until - keep_from;
    }

    /// From here on there are pixel data, of about so many bytes.
    pub(crate) fn pixels_start(&mut self, bytes: u64) {
        // Letters of either case meet by chance once in 128: so long that all needles meet in the whole once in ten
        // thousand objects.
        let chances = bytes.max(1) as f64 * self.needles.list.len().max(1) as f64 * 1e4;
        let shortest = ((chances.ln() / 128_f64.ln()).ceil() as usize).max(grams::SHORTEST);
        self.pixels = Some((self.at + self.window.len() as u64, shortest));
    }

    /// What was found in the whole, once for each attribute.
    pub(crate) fn finish(mut self) -> Vec<Found> {
        self.search(self.window.len());
        self.found.into_values().collect()
    }

    /// Decides about every match that starts before `until` of the window.
    fn search(&mut self, until: usize) {
        let needles = Arc::clone(&self.needles);
        let Some(machine) = &needles.machine else { return };
        let len = self.window.len();
        let reach = len.min(until + needles.longest);
        let pixels = self.pixels.map_or(len, |(from, _)| (from.saturating_sub(self.at) as usize).min(len));
        let mut hits = Vec::new();
        if self.decided < pixels {
            // A match that starts before the pixel data may end in them.
            let end = reach.min(pixels + needles.longest);
            self.run(machine, self.decided..end, &mut hits);
        }
        // A match in pixel data covers a place of a block that the sieve does not hold back.
        for block in (pixels.max(self.decided)..reach).step_by(BLOCK) {
            let end = reach.min(block + BLOCK);
            if needles.grams.may_cover(&self.window, block..end) {
                let from = block.saturating_sub(needles.longest);
                self.run(machine, from..len.min(end + needles.longest), &mut hits);
            }
        }
        for (pattern, start, end) in hits {
            if start >= self.decided && start < until {
                self.note(&needles.list[pattern], start, end);
            }
        }
    }

    fn run(&self, machine: &AhoCorasick, range: Range<usize>, hits: &mut Vec<(usize, usize, usize)>) {
        let all = machine.find_overlapping_iter(Input::new(&self.window).range(range));
        hits.extend(all.map(|hit| (hit.pattern().as_usize(), hit.start(), hit.end())));
    }

    fn note(&mut self, needle: &Needle, start: usize, end: usize) {
        let offset = self.at + start as u64;
        let in_pixels = self.pixels.is_some_and(|(from, _)| offset >= from);
        let shortest = self.pixels.filter(|_| in_pixels).map_or(0, |(_, shortest)| shortest);
        if needle.bytes.len() < shortest {
            return;
        }
        if let Some(tag) = self.judge(needle, start, end) {
            self.found.entry(tag).or_insert(Found { tag, offset, in_pixels });
        }
    }

    /// The attribute that a match gives away; none if it is chance.
    fn judge(&self, needle: &Needle, start: usize, end: usize) -> Option<Tag> {
        let width = match needle.form {
            Form::Base64 => return (self.window[start..end] == needle.bytes[..]).then_some(needle.tag),
            Form::Bytes => 1,
            Form::Utf16Le | Form::Utf16Be => 2,
        };
        let unit = |at: usize| -> u8 {
            let bytes = self.window.get(at..at + width);
            match (needle.form, bytes) {
                (Form::Utf16Le, Some(&[low, 0]))
                | (Form::Utf16Be, Some(&[0, low]))
                | (Form::Bytes, Some(&[low])) => low,
                _ => 0,
            }
        };
        let before = |n: usize| start.checked_sub(n * width).map_or(0, unit);
        let after = |n: usize| unit(end + n * width);
        let digit = |b: u8| b.is_ascii_digit();
        // A point between digits makes them one number.
        let fraction = before(1) == b'.' && digit(before(2)) || after(0) == b'.' && digit(after(1));
        let alone = match needle.edge {
            Edge::Free => true,
            Edge::Word => !before(1).is_ascii_alphanumeric() && !after(0).is_ascii_alphanumeric(),
            Edge::Number => !digit(before(1)) && !digit(after(0)) && !fraction,
            Edge::Date => !(digit(before(1)) || before(1) == b'.' && digit(before(2))),
            Edge::Uid => {
                if digit(before(1)) || before(1) == b'.' {
                    return None;
                }
                let mut uid = String::new();
                let mut at = start;
                while uid.len() <= 64 && (digit(unit(at)) || unit(at) == b'.') {
                    uid.push(char::from(unit(at)));
                    at += width;
                }
                return self.uids.get(uid.trim_end_matches('.')).copied();
            }
        };
        alone.then_some(needle.tag)
    }
}
