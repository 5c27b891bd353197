//! DICOM associations: an SCP and an SCU of verification, storage and storage commitment.
