"""Settings of nbgrader for this course; its commands run in this folder."""

c = get_config()  # noqa: F821, nbgrader gives it

c.CourseDirectory.course_id = "minivae"
c.ClearSolutions.code_stub = {
    "python": "# your code here\nraise NotImplementedError"
}
c.ClearSolutions.text_stub = "*Your answer here.*"
# mends what students did to cells; checks are those that were handed out
c.Autograde.sanitize_preprocessors = [
    "minivae_course.grading.Mend",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# runs the student's code apart from the checks, with limits
c.Autograde.autograde_preprocessors = [
    "minivae_course.grading.Grade",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# the button Validate: a check tries four inputs, which may take its time
c.Execute.timeout = 600
