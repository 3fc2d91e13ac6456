"""Settings of nbgrader for this course; its commands run in this folder."""

c = get_config()  # noqa: F821, nbgrader gives it

c.CourseDirectory.course_id = "minivae"
c.ClearSolutions.code_stub = {
    "python": "# your code here\nraise NotImplementedError"
}
c.ClearSolutions.text_stub = "*Your answer here.*"
# a check that a student has deleted comes back
c.OverwriteCells.add_missing_cells = True
# runs the student's code apart from the checks, with limits
c.Autograde.autograde_preprocessors = [
    "minivae_course.grading.Grade",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
