//! Which frames of a cine are read: the same number of each heart cycle, evenly in time.
//!
//! A clip shows the same heart again and again. What counts is that every phase of the beat is looked at, and none more often than another;
//! so whole cycles are read, as R waves or else the heart rate part them. That is how a clip is looked at, and leaves nothing unseen. A clip
//! that shows less than a cycle does, and one whose times cannot be is not to be trusted: both are told.

use overread_dicom::read::CineTiming;

use crate::intake::ImageFile;

/// Frames of a heart cycle that are read: as many as stood for a clip, in the mean, where a pack for echocardiograms was calibrated.
const FRAMES_A_CYCLE: u32 = 10;
/// Heart cycles of a clip that are read; of more, so many evenly over the clip.
const CYCLES: u32 = 8;
/// Most frames that are read of an object whose frames have no place and no phase.
const FRAMES: u32 = 512;
/// Heart rates that a heart can have, an unborn child's included, in beats a minute.
const RATES: std::ops::RangeInclusive<f64> = 20.0..=300.0;
/// Milliseconds of a minute.
const MINUTE: f64 = 60_000.0;

/// What of an object is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its frames, from 0, in the order of time.
    pub frames: Vec<u32>,
    /// What was not seen of the heart, or cannot be true, in sentences.
    pub told: Vec<String>,
}

/// The frames that are read of an object: of a cine whose heart cycles are known those that stand for them; else all, as far as that has
/// an end.
pub fn sample(image: &ImageFile) -> Sample {
    let frames = image.header.frames.max(1);
    let mut told = vec![];
    if image.header.holds_several {
        told.push("the file holds several pictures; the first alone was read".into());
    }
    let phases = is_cine(image).then(|| of_clip(&image.header.cine, frames, &mut told)).flatten();
    let chosen = phases.unwrap_or_else(|| {
        if !image.slices.is_empty() || frames <= FRAMES {
            return (0..frames).collect();
        }
        told.push(format!("{FRAMES} of its {frames} frames were read, evenly"));
        evenly(frames, FRAMES).collect()
    });
    Sample { frames: chosen, told: told.into_iter().map(|what| format!("{}: {what}", image.name)).collect() }
}

/// Frames of ultrasound or angiography that follow each other in time: they have no place in the patient. A pull-back (IVUS) has each
/// picture once and is none.
fn is_cine(image: &ImageFile) -> bool {
    let moving = ["US", "XA"].iter().any(|m| image.header.modality.as_deref() == Some(m));
    moving && image.header.frames > 1 && image.slices.is_empty()
}

/// The frames that stand for a clip's heart cycles; none where they cannot be told apart.
fn of_clip(timing: &CineTiming, frames: u32, told: &mut Vec<String>) -> Option<Vec<u32>> {
    let clock = Clock::of(timing, frames, told)?;
    let cycles = match r_waves(timing, &clock, told) {
        Some(cycles) => cycles,
        None => by_rate(timing, &clock, told)?,
    };
    let phase = |(start, end): (f64, f64), n: u32| {
        start + (end - start) * (f64::from(n) + 0.5) / f64::from(FRAMES_A_CYCLE)
    };
    let times = cycles.into_iter().flat_map(|cycle| (0..FRAMES_A_CYCLE).map(move |n| phase(cycle, n)));
    let mut chosen: Vec<u32> = times.map(|time| clock.frame_at(time)).collect();
    chosen.dedup();
    Some(chosen)
}

/// When each frame was taken, in milliseconds from the first.
enum Clock {
    Even {
        step: f64,
        frames: u32,
    },
    /// When each frame began.
    Listed(Vec<f64>),
}

impl Clock {
    /// By Frame Time, else by Frame Time Vector.
    fn of(timing: &CineTiming, frames: u32, told: &mut Vec<String>) -> Option<Self> {
        if let Some(step) = timing.frame_time_ms {
            if step.is_finite() && step > 0.0 {
                return Some(Self::Even { step, frames });
            }
            told.push(format!("its Frame Time of {step} ms cannot be"));
        }
        let steps = timing.frame_time_vector_ms.as_ref()?;
        if steps.len() != frames as usize {
            told.push(format!("its Frame Time Vector has {} times for {frames} frames", steps.len()));
            return None;
        }
        // The first step leads to the first frame.
        if !steps[1..].iter().all(|step| step.is_finite() && *step > 0.0) {
            told.push("its Frame Time Vector holds times that cannot be".into());
            return None;
        }
        let starts = steps[1..].iter().scan(0.0, |now, step| {
            *now += step;
            Some(*now)
        });
        Some(Self::Listed(std::iter::once(0.0).chain(starts).collect()))
    }

    /// How long the clip is; the last frame lasts as long as a usual one.
    fn clip(&self) -> f64 {
        match self {
            Self::Even { step, frames } => step * f64::from(*frames),
            Self::Listed(starts) => starts.last().copied().unwrap_or(0.0) + self.step(),
        }
    }

    /// How long a frame lasts in the mean.
    fn step(&self) -> f64 {
        match self {
            Self::Even { step, .. } => *step,
            Self::Listed(starts) => starts.last().copied().unwrap_or(0.0) / (starts.len().max(2) - 1) as f64,
        }
    }

    /// When a frame begins; none where there is no such frame.
    fn start(&self, frame: u32) -> Option<f64> {
        match self {
            Self::Even { step, frames } => (frame < *frames).then(|| step * f64::from(frame)),
            Self::Listed(starts) => starts.get(frame as usize).copied(),
        }
    }

    fn frame_at(&self, time: f64) -> u32 {
        match self {
            Self::Even { step, frames } => ((time / step) as u32).min(frames - 1),
            Self::Listed(starts) => (starts.partition_point(|start| *start <= time).max(1) - 1) as u32,
        }
    }
}

/// The cycles between R waves of the clip, by time or else by frame, from start to end; none without two of them.
fn r_waves(timing: &CineTiming, clock: &Clock, told: &mut Vec<String>) -> Option<Vec<(f64, f64)>> {
    let of_frame =
        |number: &f64| clock.start((number - 1.0) as u32).filter(|_| *number >= 1.0).unwrap_or(f64::NAN);
    let marked = || timing.r_wave_frames.as_ref().map(|frames| frames.iter().map(of_frame).collect());
    let waves: Vec<f64> = timing.r_waves_ms.clone().or_else(marked)?;
    let beats = |pair: &[f64]| RATES.contains(&(MINUTE / (pair[1] - pair[0])));
    if !waves.iter().all(|wave| wave.is_finite()) || !waves.windows(2).all(beats) {
        told.push("its R waves have times that cannot be".into());
        return None;
    }
    let end = clock.clip() + clock.step() / 2.0;
    let within: Vec<f64> = waves.iter().copied().filter(|wave| (0.0..=end).contains(wave)).collect();
    let cycles = u32::try_from(within.len()).unwrap_or(u32::MAX).saturating_sub(1);
    let cycle = |n: u32| (within[n as usize], within[n as usize + 1]);
    (cycles > 0).then(|| evenly(cycles, CYCLES).map(cycle).collect())
}

/// The whole cycles from the first frame on, by the heart rate. A clip shorter than one is read evenly.
fn by_rate(timing: &CineTiming, clock: &Clock, told: &mut Vec<String>) -> Option<Vec<(f64, f64)>> {
    // Devices write 0 where no electrodes tell them.
    let rate = timing.heart_rate_bpm.filter(|rate| *rate != 0.0)?;
    if !RATES.contains(&rate) {
        told.push(format!("its Heart Rate of {rate} beats a minute cannot be"));
        return None;
    }
    let (cycle, clip) = (MINUTE / rate, clock.clip());
    // The rate is rounded to beats: a clip that misses a cycle by less than half a frame shows it.
    let cycles = ((clip + clock.step() / 2.0) / cycle) as u32;
    if cycles == 0 {
        told.push(format!("its {clip:.0} ms are shorter than a heart cycle of {cycle:.0} ms"));
        return Some(vec![(0.0, clip)]);
    }
    Some(evenly(cycles, CYCLES).map(|n| (f64::from(n) * cycle, f64::from(n + 1) * cycle)).collect())
}

/// Up to `most` of `all`, evenly over them.
fn evenly(all: u32, most: u32) -> impl Iterator<Item = u32> {
    let read = all.min(most);
    (0..read).map(move |n| (u64::from(n) * u64::from(all) / u64::from(read)) as u32)
}

#[cfg(test)]
mod tests;
