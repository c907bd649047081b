"""ipywidgets of the course. Each draws with the functions of `plots`, so what it shows is also a static picture.

Every callback runs inside an Output widget (`with self.output:`): an error in it is then shown to the learner and found
by `stepe-lite run`, where ipywidgets would otherwise swallow it.
"""
