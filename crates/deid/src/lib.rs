//! What leaves the hospital: pixels and what reading needs, without the patient.
