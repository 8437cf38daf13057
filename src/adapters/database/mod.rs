//! placeholder for the moment of the move.
