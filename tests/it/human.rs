//! The human in the loop: what a policy leaves to people, who may answer, and what is done when nobody does.
mod asked;
mod buttons;
mod policy;
mod roles;
