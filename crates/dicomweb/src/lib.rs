//! DICOMweb (PS3.18) over an archive that the role provides.
