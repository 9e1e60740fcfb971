"""Loss landscape study: do fits from different starts end in one basin?"""
