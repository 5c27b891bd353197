//! Making DICOM objects: structured reports, secondary captures, wrapped photographs.
