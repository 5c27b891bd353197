//! Which slices of a study one reading looks at, and in which order: stacks by geometry (PS3.3 §C.7.6.2).
//!
//! A pack for slices is calibrated on one stack a patient. A study holds more: localisers, other planes, the same slices again with
//! another kernel, reports kept as images. One stack is read, the one with the most slices; the others say why they were not. What the
//! chosen stack does not cover is told, because what was not seen is not ruled out.
//!
//! Order and neighbours come from Image Position and Image Orientation (Patient) alone: file names and Instance Numbers lie.

use overread_domain::{NotAssessed, Plane, PlaneGeometry};

use crate::intake::ImageFile;
use crate::reader::FrameRef;

/// Direction cosines that differ by no more, each, are those of one stack: about one degree.
const SAME_DIRECTION: f64 = 0.02;
/// Slices that lie nearer than this share of the usual distance lie in the same place.
const SAME_PLACE: f64 = 0.05;
/// A distance above this many usual ones is a gap.
const GAP: f64 = 1.5;

/// What of a study is read.
#[derive(Debug, Default, PartialEq)]
pub struct Arrangement {
    /// What is read; slices of a stack in the order in which they lie in the patient.
    pub frames: Vec<FrameRef>,
    /// What is not, and why.
    pub left_out: Vec<(FrameRef, NotAssessed)>,
    /// What was not seen of the patient though it should have been, in sentences.
    pub unseen: Vec<String>,
}

struct Slice {
    frame: FrameRef,
    geometry: PlaneGeometry,
}

/// Slices of one series that lie parallel and have one size.
struct Stack {
    normal: [f64; 3],
    plane: Plane,
    slices: Vec<Slice>,
}

/// Chooses and sorts the frames that a program accepts. `planes` are those it reads; any if there are none. Frames of objects without
/// geometry (radiographs, cines, photographs) stay as they are, unless they stand beside a stack.
pub fn arrange(images: &[ImageFile], frames: Vec<FrameRef>, planes: &[Plane]) -> Arrangement {
    let mut arrangement = Arrangement::default();
    let (localisers, frames): (Vec<_>, Vec<_>) =
        frames.into_iter().partition(|f| is_localiser(&images[f.image]));
    arrangement.leave_out(localisers, "localiser", "a localiser: it shows where the slices lie");
    let (mut stacks, loose) = stacks(images, frames);
    if stacks.is_empty() {
        arrangement.frames = loose;
        return arrangement;
    }
    let placeless = loose.clone();
    arrangement.leave_out(
        loose,
        "no-geometry",
        "it does not tell where in the patient it lies, as the slices beside it do",
    );
    let (wanted, others): (Vec<_>, Vec<_>) =
        stacks.drain(..).partition(|s: &Stack| planes.is_empty() || planes.contains(&s.plane));
    for stack in others {
        let wanted = planes.iter().map(Plane::to_string).collect::<Vec<_>>().join(", ");
        arrangement.leave_out(
            stack.frames(),
            "plane",
            &format!("a slice in the {} plane; {wanted} is read", stack.plane),
        );
    }
    arrangement.read_largest(images, wanted);
    arrangement.tell_lost(images, &placeless);
    arrangement
}

impl Arrangement {
    fn leave_out(&mut self, frames: Vec<FrameRef>, code: &str, message: &str) {
        let why = NotAssessed { code: code.into(), message: message.into() };
        self.left_out.extend(frames.into_iter().map(|frame| (frame, why.clone())));
    }

    /// Slices of the series that is read which do not tell where they lie may be of any place of it; a report of another series is none.
    fn tell_lost(&mut self, images: &[ImageFile], placeless: &[FrameRef]) {
        let series = |frame: &FrameRef| &images[frame.image].header.series_instance_uid;
        let Some(read) = self.frames.first().map(series) else { return };
        let lost = placeless.iter().filter(|frame| series(frame) == read).count();
        if lost > 0 {
            self.unseen.push(format!(
                "{lost} slices of the series that was read do not tell where they lie and were left out"
            ));
        }
    }

    /// Reads the stack with the most slices; the first of those that are level.
    fn read_largest(&mut self, images: &[ImageFile], mut stacks: Vec<Stack>) {
        let largest = stacks.iter().map(|s| s.slices.len()).max();
        let Some(index) = stacks.iter().position(|s| Some(s.slices.len()) == largest) else { return };
        let mut chosen = stacks.remove(index);
        let normal = chosen.normal;
        chosen.slices.sort_by(|a, b| a.geometry.along(normal).total_cmp(&b.geometry.along(normal)));
        let step = chosen.usual_step();
        let repeated = chosen.drop_repeated(step);
        self.unseen.extend(chosen.gaps(images, step));
        for stack in stacks {
            if let Some(beyond) = chosen.does_not_cover(&stack, step) {
                self.unseen.push(beyond);
            }
            let message = format!(
                "another series of the study was chosen; number of its slices: {}",
                chosen.slices.len()
            );
            self.leave_out(stack.frames(), "other-series", &message);
        }
        if !repeated.is_empty() {
            self.unseen.push(format!(
                "{} slices lie where others of their series lie; the first of each place was read",
                repeated.len()
            ));
            self.leave_out(repeated, "duplicate-slice", "another slice of the series lies in the same place");
        }
        self.frames = chosen.frames();
    }
}

impl Stack {
    fn frames(&self) -> Vec<FrameRef> {
        self.slices.iter().map(|s| s.frame.clone()).collect()
    }

    fn takes(&self, images: &[ImageFile], slice: &Slice) -> bool {
        let first = &self.slices[0];
        let (own, other) = (&images[first.frame.image].header, &images[slice.frame.image].header);
        let level = first.geometry.orientation.iter().zip(slice.geometry.orientation);
        own.series_instance_uid == other.series_instance_uid
            && (own.rows, own.columns) == (other.rows, other.columns)
            && level.into_iter().all(|(a, b)| (a - b).abs() <= SAME_DIRECTION)
    }

    fn place(&self, slice: &Slice) -> f64 {
        slice.geometry.along(self.normal)
    }

    /// The median distance of sorted neighbours that do not lie in one place; none with fewer than two places.
    fn usual_step(&self) -> Option<f64> {
        let mut steps: Vec<f64> = self
            .slices
            .windows(2)
            .map(|pair| self.place(&pair[1]) - self.place(&pair[0]))
            .filter(|step| *step > 0.01)
            .collect();
        steps.sort_by(f64::total_cmp);
        steps.get(steps.len() / 2).copied()
    }

    /// Keeps the first slice of each place and gives back the others.
    fn drop_repeated(&mut self, step: Option<f64>) -> Vec<FrameRef> {
        let (normal, near) = (self.normal, step.map_or(f64::INFINITY, |s| s * SAME_PLACE));
        let (mut kept, mut repeated): (Vec<Slice>, Vec<FrameRef>) = (vec![], vec![]);
        for slice in self.slices.drain(..) {
            let same =
                |last: &Slice| (slice.geometry.along(normal) - last.geometry.along(normal)).abs() <= near;
            if kept.last().is_some_and(same) { repeated.push(slice.frame) } else { kept.push(slice) }
        }
        self.slices = kept;
        repeated
    }

    /// Where slices are missing between others.
    fn gaps(&self, images: &[ImageFile], step: Option<f64>) -> Vec<String> {
        let Some(step) = step else { return vec![] };
        let gap = |pair: &[Slice]| {
            let distance = self.place(&pair[1]) - self.place(&pair[0]);
            let name = |slice: &Slice| name(images, &slice.frame);
            (distance > GAP * step).then(|| {
                format!(
                    "{:.1} mm between {} and {}, where {step:.1} mm is usual: about {} slices are missing",
                    distance,
                    name(&pair[0]),
                    name(&pair[1]),
                    (distance / step - 1.0).round().max(1.0)
                )
            })
        };
        self.slices.windows(2).filter_map(gap).collect()
    }

    /// How far another stack of the same plane reaches beyond this one, where it does by more than a slice or cannot be told.
    fn does_not_cover(&self, other: &Stack, step: Option<f64>) -> Option<String> {
        let frame = |stack: &Stack| stack.slices[0].geometry.frame_of_reference.clone();
        if self.plane != other.plane {
            return None;
        }
        if frame(self) != frame(other) {
            return Some(format!(
                "another series with {} slices has a Frame of Reference of its own: whether it reaches beyond the one that was read is not known",
                other.slices.len()
            ));
        }
        let places = |stack: &Stack| {
            let along = stack.slices.iter().map(|s| self.place(s));
            along.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p), high.max(p)))
        };
        let ((low, high), (their_low, their_high)) = (places(self), places(other));
        let beyond = (low - their_low).max(0.0) + (their_high - high).max(0.0);
        (beyond > GAP * step.unwrap_or(0.0)).then(|| {
            format!(
                "another series with {} slices reaches {beyond:.0} mm beyond the one that was read",
                other.slices.len()
            )
        })
    }
}

/// What messages call a slice.
fn name(images: &[ImageFile], frame: &FrameRef) -> String {
    let image = &images[frame.image];
    if image.header.frames > 1 {
        format!("{}, frame {}", image.name, frame.frame + 1)
    } else {
        image.name.clone()
    }
}

fn is_localiser(image: &ImageFile) -> bool {
    image.header.image_type.iter().any(|value| value.eq_ignore_ascii_case("LOCALIZER"))
}

/// Stacks in the order of their first slices, and the frames that do not tell where they lie.
fn stacks(images: &[ImageFile], frames: Vec<FrameRef>) -> (Vec<Stack>, Vec<FrameRef>) {
    let (mut stacks, mut loose): (Vec<Stack>, Vec<FrameRef>) = (vec![], vec![]);
    for frame in frames {
        let geometry = images[frame.image].slices.get(frame.frame as usize);
        let known = geometry.and_then(|g| Some((g.clone(), g.normal()?, g.plane()?)));
        let Some((geometry, normal, plane)) = known else {
            loose.push(frame);
            continue;
        };
        let slice = Slice { frame, geometry };
        match stacks.iter_mut().find(|stack| stack.takes(images, &slice)) {
            Some(stack) => stack.slices.push(slice),
            None => stacks.push(Stack { normal, plane, slices: vec![slice] }),
        }
    }
    (stacks, loose)
}

#[cfg(test)]
mod tests;
