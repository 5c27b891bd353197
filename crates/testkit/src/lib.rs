//! Real peers for tests: PostgreSQL, an S3 server, Orthanc, DCMTK. Never part of the product.
