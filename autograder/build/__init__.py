"""From the sources of the course to what others get: notebooks, course directory, learners' package."""
