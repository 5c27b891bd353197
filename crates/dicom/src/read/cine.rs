//! When the frames of a cine were taken, and how the heart beat meanwhile (Cine Module, PS3.3 §C.7.6.5; US Image Module, §C.8.5.6;
//! Frame Pointers Module, §C.7.6.9).

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::values;

/// What a file says of its frames' times. Nothing is checked: vectors of any length, numbers of any sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CineTiming {
    /// Frame Time (0018,1063), in milliseconds.
    pub frame_time_ms: Option<f64>,
    /// Frame Time Vector (0018,1065): milliseconds from the frame before, one a frame.
    pub frame_time_vector_ms: Option<Vec<f64>>,
    /// R Wave Time Vector (0018,6060): milliseconds from the first frame, one a beat.
    pub r_waves_ms: Option<Vec<f64>>,
    /// R Wave Pointer (0028,6040): numbers of the frames, from 1, in which an R wave lies.
    pub r_wave_frames: Option<Vec<f64>>,
    /// Heart Rate (0018,1088), in beats a minute.
    pub heart_rate_bpm: Option<f64>,
}

impl CineTiming {
    pub(crate) fn of_object(object: &InMemDicomObject) -> Self {
        let first = |tag| values::numbers(object, tag)?.first().copied();
        Self {
            frame_time_ms: first(tags::FRAME_TIME),
            frame_time_vector_ms: values::numbers(object, tags::FRAME_TIME_VECTOR),
            r_waves_ms: values::numbers(object, tags::R_WAVE_TIME_VECTOR),
            r_wave_frames: values::numbers(object, tags::R_WAVE_POINTER),
            heart_rate_bpm: first(tags::HEART_RATE),
        }
    }
}
