//! To be written: together of databases.
