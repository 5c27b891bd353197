//! What Prometheus sees: names `overread_service_…`, labels that are programs and decisions and never ids.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use overread_domain::Decision;

use crate::reading::Reading;

/// Says what each figure is. To be called once the recorder is there.
pub fn describe() {
    describe_counter!("overread_service_objects_total", "objects put by edges");
    describe_counter!("overread_service_studies_total", "versions of studies put by edges");
    describe_counter!("overread_service_readings_total", "readings made, by program");
    describe_counter!("overread_service_findings_total", "findings made, by program and decision");
    describe_counter!("overread_service_released_total", "results released, by program");
    describe_counter!("overread_service_dead_total", "studies left for a person");
    describe_histogram!("overread_service_reading_seconds", "time of a reading, by program");
    describe_gauge!("overread_service_waiting", "studies that wait to be read");
    describe_gauge!("overread_service_running", "studies that are being read");
    describe_gauge!("overread_service_dead", "studies that a person must look at");
    describe_gauge!("overread_service_unsent", "results that the edge has not taken yet");
}

/// An object was put.
pub(crate) fn object() {
    counter!("overread_service_objects_total").increment(1);
}

/// A version of a study was put.
pub(crate) fn study() {
    counter!("overread_service_studies_total").increment(1);
}

/// A reading was made.
pub(crate) fn reading(program: &str, reading: &Reading) {
    let t = &reading.timings;
    let ms = t.decode_ms + t.preprocess_ms + t.inference_ms + t.explain_ms + t.picture_ms;
    counter!("overread_service_readings_total", "program" => program.to_owned()).increment(1);
    histogram!("overread_service_reading_seconds", "program" => program.to_owned()).record(ms / 1e3);
    for finding in &reading.findings {
        let decision = match finding.decision {
            Decision::Present => "present",
            Decision::Absent => "absent",
            Decision::Indeterminate => "indeterminate",
            Decision::NotAssessed => "not-assessed",
        };
        counter!("overread_service_findings_total", "program" => program.to_owned(), "decision" => decision)
            .increment(1);
    }
}

/// A result was released.
pub(crate) fn released(program: &str) {
    counter!("overread_service_released_total", "program" => program.to_owned()).increment(1);
}

/// A study was given up.
pub(crate) fn dead() {
    counter!("overread_service_dead_total").increment(1);
}

/// How long the queues are.
pub(crate) fn queues(waiting: i64, running: i64, dead: i64, unsent: i64) {
    gauge!("overread_service_waiting").set(waiting as f64);
    gauge!("overread_service_running").set(running as f64);
    gauge!("overread_service_dead").set(dead as f64);
    gauge!("overread_service_unsent").set(unsent as f64);
}
