//! The derive macro of the Millpond guest SDK
