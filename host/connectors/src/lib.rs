//! Receivers and sinks of Millpond, one folder and one feature each
