use std::path::PathBuf;

use overread_dicom::read::Header;
use overread_domain::PlaneGeometry;

use super::*;

fn clip(frames: u32, cine: CineTiming) -> ImageFile {
    let header =
        Header { modality: Some("US".into()), frames, cine, ..Header::of_photograph("", 64, 64, 1, 8) };
    let path = PathBuf::from("clip");
    ImageFile {
        path,
        name: "clip".into(),
        position: 0,
        header,
        slices: vec![],
        photograph: false,
        slide: false,
    }
}

/// Frames of 40 ms at a heart rate.
fn at(rate: f64) -> CineTiming {
    CineTiming { frame_time_ms: Some(40.0), heart_rate_bpm: Some(rate), ..CineTiming::default() }
}

fn all(frames: u32) -> Vec<u32> {
    (0..frames).collect()
}

/// What is read of a clip about which one thing is told.
fn told(frames: u32, timing: CineTiming) -> (Vec<u32>, String) {
    let mut sample = sample(&clip(frames, timing));
    assert_eq!(sample.told.len(), 1, "{:?}", sample.told);
    (sample.frames, sample.told.remove(0))
}

#[test]
fn ten_frames_of_each_whole_cycle_are_read() {
    // 60 beats a minute: 1000 ms, 25 frames. The middles of tenths are 50, 150, … ms.
    let one = [1, 3, 6, 8, 11, 13, 16, 18, 21, 23];
    assert_eq!(sample(&clip(25, at(60.0))), Sample { frames: one.into(), told: vec![] });
    // 2.4 cycles: two of them, at the same phases.
    let two: Vec<u32> = one.into_iter().chain(one.map(|f| f + 25)).collect();
    assert_eq!(sample(&clip(60, at(60.0))).frames, two);
    // The heart rate is rounded: 24.9 frames of a cycle are the cycle.
    assert_eq!(sample(&clip(25, at(59.8))).told, Vec::<String>::new());
}

#[test]
fn r_waves_part_the_cycles_and_are_trusted_more_than_the_rate() {
    let waves = |ms: &[f64]| CineTiming { r_waves_ms: Some(ms.into()), ..at(60.0) };
    // Between 200 and 1200 ms; what lies before and after is no whole cycle.
    let one = sample(&clip(50, waves(&[200.0, 1200.0])));
    assert_eq!(one, Sample { frames: vec![6, 8, 11, 13, 16, 18, 21, 23, 26, 28], told: vec![] });
    // A beat that comes early has as many frames as another.
    let early = sample(&clip(50, waves(&[0.0, 1000.0, 1500.0]))).frames;
    assert_eq!(early[10..], [25, 26, 28, 29, 30, 31, 33, 34, 35, 36]);
    // The same waves, named by their frames.
    let frames = CineTiming { r_wave_frames: Some(vec![6.0, 31.0]), ..at(60.0) };
    assert_eq!(sample(&clip(50, frames)).frames, one.frames);
    for beyond in [[0.0, 25.0], [6.0, 51.0]] {
        let wrong = CineTiming { r_wave_frames: Some(beyond.into()), ..at(60.0) };
        assert!(told(50, wrong).1.contains("R waves"));
    }
    // One wave parts nothing, and those beyond the clip are not of it: the rate does.
    assert_eq!(sample(&clip(25, waves(&[300.0, 1300.0]))).frames, sample(&clip(25, at(60.0))).frames);
}

#[test]
fn frames_of_uneven_length_are_chosen_by_time() {
    // Ten frames in the first half of the second, then two that fill the other.
    let mut steps = vec![0.0];
    steps.extend([50.0; 10]);
    steps.push(250.0);
    let timing =
        CineTiming { frame_time_vector_ms: Some(steps), heart_rate_bpm: Some(80.0), ..CineTiming::default() };
    // Starts 0, 50, … 500 and 750; 750 ms a cycle; middles 37.5, 112.5, 187.5, …
    assert_eq!(sample(&clip(12, timing)), Sample { frames: vec![0, 2, 3, 5, 6, 8, 9, 10], told: vec![] });
}

#[test]
fn a_long_clip_costs_no_more_than_eight_cycles() {
    // 10000 frames of 40 ms are 400 cycles: each fiftieth, whole.
    let sample = sample(&clip(10_000, at(60.0)));
    assert_eq!((sample.frames.len(), sample.told.len()), (80, 0));
    assert_eq!((sample.frames[0], sample.frames[10], sample.frames[79]), (1, 1251, 8773));
    // Times that no clip has do not make it longer.
    let endless = CineTiming { frame_time_ms: Some(f64::MAX), ..at(60.0) };
    assert!(super::sample(&clip(100, endless)).frames.len() <= 80);
}

#[test]
fn less_than_a_cycle_is_told() {
    let (frames, why) = told(12, at(60.0));
    assert_eq!(frames, [0, 1, 3, 4, 5, 6, 7, 9, 10, 11]);
    assert_eq!(why, "clip: its 480 ms are shorter than a heart cycle of 1000 ms");
}

#[test]
fn times_that_cannot_be_are_told_and_not_used() {
    for wrong in [0.0, -40.0, f64::NAN, f64::INFINITY] {
        let (frames, why) = told(30, CineTiming { frame_time_ms: Some(wrong), ..at(60.0) });
        assert_eq!(frames, all(30), "{wrong}");
        assert!(why.contains("Frame Time of") && why.contains("cannot be"), "{why}");
        if wrong == 0.0 {
            // What devices write where no electrodes tell the rate.
            assert_eq!(sample(&clip(30, at(wrong))), Sample { frames: all(30), told: vec![] });
        } else {
            let (frames, why) = told(30, at(wrong));
            assert_eq!(frames, all(30), "{wrong}");
            assert!(why.contains("Heart Rate of"), "{why}");
        }
        let vector = vec![0.0, 40.0, wrong];
        let vector = CineTiming { frame_time_ms: None, frame_time_vector_ms: Some(vector), ..at(60.0) };
        assert_eq!(told(3, vector).0, all(3));
        // What is wrong with the waves does not speak against the rate.
        let waves = CineTiming { r_waves_ms: Some(vec![0.0, wrong, 2000.0]), ..at(60.0) };
        let (frames, why) = told(25, waves);
        assert_eq!(frames.len(), 10, "{wrong}");
        assert!(why.contains("R waves"), "{why}");
    }
    let short = CineTiming { frame_time_ms: None, frame_time_vector_ms: Some(vec![40.0; 29]), ..at(60.0) };
    let (frames, why) = told(30, short);
    assert_eq!((frames, why.as_str()), (all(30), "clip: its Frame Time Vector has 29 times for 30 frames"));
}

#[test]
fn what_says_nothing_of_the_heart_is_read_whole() {
    let unsaid = CineTiming { heart_rate_bpm: None, ..at(60.0) };
    assert_eq!(sample(&clip(120, unsaid)), Sample { frames: all(120), told: vec![] });
    let (frames, why) = told(i32::MAX as u32, CineTiming::default());
    assert_eq!((frames.len(), frames[511]), (512, 2_143_289_343));
    assert_eq!(why, "clip: 512 of its 2147483647 frames were read, evenly");
    assert_eq!(sample(&clip(1, at(60.0))), Sample { frames: vec![0], told: vec![] });
    // A volume: its frames lie side by side.
    let mut volume = clip(50, at(60.0));
    let geometry = PlaneGeometry {
        position: [0.0; 3],
        orientation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        frame_of_reference: None,
    };
    volume.slices = vec![geometry; 50];
    assert_eq!(sample(&volume).frames, all(50));
}
