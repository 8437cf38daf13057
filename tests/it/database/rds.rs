//! To be written: rds of databases.
